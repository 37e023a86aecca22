// The WebSocket channels as an AsyncAPI document, made from the schemas that check and shape the messages themselves.
import { type TSchema, Type } from '@sinclair/typebox';
import { closed, ref } from '../lib/typebox.js';
import { VERSION } from '../lib/version.js';
import { SessionId, SessionState } from '../sessions/schema.js';
import { Ending, TaskId, TaskStatus, Usage } from '../tasks/schema.js';
import { DASHBOARD_MESSAGES, TASK_MESSAGES } from './client-messages.js';
import { EVENT_SCHEMAS, OutputStream, StreamGap, StreamHead } from './schema.js';

const CLOSE_CODES = `Close codes:

| code | meaning |
|---|---|
| 1000 | the stream is complete: the session is terminated, or the task ended, and everything was delivered |
| 1001 | the service stops; come back with \`after\` |
| 1008 | not allowed |
| 1009 | a message of more than 1 MiB |
| 1011 | a fault of the service; come back with \`after\` |
| 1013 | too many sockets; try again later |
| 4404 | no such session or task |

The service pings every 20 s and cuts a client off that has taken everything and does not answer. A slow client is
not cut off: nothing more is read for it while 1 MiB waits in its socket.`;

const after = Type.Object({
  after: Type.Optional(
    Type.Integer({ minimum: 0, default: 0, description: 'The last event you have; 0 for all.' }),
  ),
  token: Type.Optional(
    Type.String({
      description:
        'Of `POST /v1/sessions/{sessionId}/tokens`, where the client can send no key: reads, and may send nothing.',
    }),
  ),
});

interface Channel {
  readonly name: string;
  readonly address: string;
  readonly title: string;
  readonly description: string;
  readonly parameters?: Readonly<Record<string, TSchema>>;
  readonly query?: TSchema;
  readonly toClient: readonly TSchema[];
  readonly fromClient: readonly TSchema[];
}

/** `problem` is the schema of problem documents, which belongs to HTTP. */
export function asyncapiDocument({ problem }: { problem: TSchema }): Record<string, unknown> {
  const StreamError = closed(
    { type: Type.Literal('stream.error'), problem: ref(problem) },
    {
      $id: 'StreamError',
      description: 'A message of the client that was not done, and why. The socket stays.',
    },
  );
  const toClient = [...EVENT_SCHEMAS, StreamHead, StreamGap, StreamError];
  const channels: Channel[] = [
    {
      name: 'sessionEvents',
      address: '/v1/sessions/{sessionId}/events',
      title: 'Events of a session',
      description:
        'First what is stored after `after`, then `stream.head` once, then events as they happen. Input for the session’s tasks goes the other way.',
      parameters: { sessionId: SessionId },
      query: after,
      toClient,
      fromClient: TASK_MESSAGES,
    },
    {
      name: 'taskEvents',
      address: '/v1/tasks/{taskId}/events',
      title: 'Events of a task',
      description:
        'As for a session, with this task’s events only; the numbers are the session’s, so with gaps.',
      parameters: { taskId: TaskId },
      query: after,
      toClient,
      fromClient: TASK_MESSAGES,
    },
    {
      name: 'dashboard',
      address: '/v1/events',
      title: 'Events of many sessions',
      description:
        'Says nothing until the client subscribes, to sessions each with its own cursor or to everything it may see from now on. `stream.head` and `stream.gap` name their session.',
      toClient,
      fromClient: DASHBOARD_MESSAGES,
    },
  ];
  const messages = [...toClient, ...TASK_MESSAGES, ...DASHBOARD_MESSAGES];
  const schemas = [...messages, SessionState, TaskStatus, Ending, Usage, OutputStream, problem];
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'codegen-worker',
      version: VERSION,
      description:
        'The WebSocket channels. The same events are served as JSON pages and as server-sent events.',
      license: { name: 'Apache-2.0' },
    },
    defaultContentType: 'application/json',
    servers: {
      local: {
        host: '127.0.0.1:8080',
        protocol: 'ws',
        description: 'A service started without settings.',
        security: [{ $ref: '#/components/securitySchemes/apiKey' }],
      },
    },
    channels: Object.fromEntries(channels.map((channel) => [channel.name, describeChannel(channel)])),
    operations: Object.fromEntries(channels.flatMap(describeOperations)),
    components: {
      securitySchemes: {
        apiKey: {
          type: 'http',
          scheme: 'bearer',
          description:
            'One of API_KEYS; none is needed without. A client that can set no header offers the subprotocols `codegen-worker.v1` and `codegen-worker.bearer.KEY`; the first is chosen.',
        },
      },
      messages: Object.fromEntries(messages.map((schema) => [schema.$id, describeMessage(schema)])),
      schemas: Object.fromEntries(schemas.map((schema) => [schema.$id, asComponent(schema)])),
    },
  };
}

function describeChannel({ address, title, description, parameters, query, toClient, fromClient }: Channel) {
  return {
    address,
    title,
    description: `${description}\n\n${CLOSE_CODES}`,
    ...(parameters && {
      parameters: Object.fromEntries(
        Object.entries(parameters).map(([name, schema]) => [name, { description: schema.description }]),
      ),
    }),
    messages: Object.fromEntries(
      [...toClient, ...fromClient].map(({ $id }) => [$id, { $ref: `#/components/messages/${$id}` }]),
    ),
    bindings: { ws: { method: 'GET', ...(query && { query: asComponent(query) }), bindingVersion: '0.1.0' } },
  };
}

function describeOperations({ name, title, toClient, fromClient }: Channel): [string, unknown][] {
  const channel = { $ref: `#/channels/${name}` };
  const inChannel = (schemas: readonly TSchema[]) =>
    schemas.map(({ $id }) => ({ $ref: `#/channels/${name}/messages/${$id}` }));
  return [
    [`send-${name}`, { action: 'send', channel, title, messages: inChannel(toClient) }],
    [
      `receive-${name}`,
      {
        action: 'receive',
        channel,
        title: `${title}: what the client says`,
        messages: inChannel(fromClient),
      },
    ],
  ];
}

function describeMessage(schema: TSchema) {
  const { type, op } = (schema.properties ?? {}) as Record<string, { const?: string }>;
  return {
    name: type?.const ?? op?.const,
    ...(schema.description && { summary: schema.description }),
    payload: { $ref: `#/components/schemas/${schema.$id}` },
    ...(schema.examples && { examples: schema.examples.map((payload: unknown) => ({ payload })) }),
  };
}

/** The schema under the rules of this document: named by its place, and referring to the others by theirs. */
function asComponent({ $id: _id, ...schema }: TSchema): unknown {
  return JSON.parse(
    JSON.stringify(schema, (key, value) =>
      key === '$ref' ? `#/components/schemas/${String(value).replace(/#$/, '')}` : value,
    ),
  );
}
