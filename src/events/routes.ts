// How events are reached: pages of JSON, server-sent events and WebSockets, all with the same cursor.
import websocket from '@fastify/websocket';
import { Type } from '@sinclair/typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import Negotiator from 'negotiator';
import type { WebSocket } from 'ws';
import {
  SessionNotFound,
  TaskNotFound,
  TooManyReaders,
  UpgradeRequired,
  ValidationFailed,
} from '../errors.js';
import { endWithProblem, requestId } from '../http/broken-http.js';
import { chooseSubprotocol } from '../http/credentials.js';
import { problemDocument, toPublicError } from '../http/problem.js';
import { errorResponses } from '../http/problem-schema.js';
import type { Server } from '../http/server.js';
import { checkCompiler } from '../http/validation.js';
import type { Principal } from '../lib/principal.js';
import { closed, ref } from '../lib/typebox.js';
import { SessionId } from '../sessions/schema.js';
import { TaskId } from '../tasks/schema.js';
import { DASHBOARD_MESSAGES, type MessageChecks, TASK_MESSAGES } from './client-messages.js';
import { CLOSE, Connection } from './connection.js';
import { serveDashboard } from './dashboard-socket.js';
import type { SessionKey } from './journal.js';
import { readPage } from './json-page.js';
import type { View } from './pages.js';
import type { Reader } from './reader.js';
import type { ReaderPlaces } from './reader-places.js';
import { EVENT_SCHEMAS, EventPage, EventUnion, OutputStream } from './schema.js';
import { type SocketContext, serveEvents, type TaskDoor } from './socket.js';
import { sseStream } from './sse.js';

const MAX_CLIENT_MESSAGE_BYTES = 1024 * 1024;
const DEFAULT_PAGE = 200;
const EVENT_STREAM = 'text/event-stream';

export interface EventRoutesOptions extends TaskDoor {
  readonly reader: Reader;
  /** Rejects with SessionNotFound when it is not there or not the caller's. */
  findSession(principal: Principal, sessionId: string): Promise<SessionKey>;
  /** Of WebSocket and SSE readers. */
  readonly places: ReaderPlaces;
  readonly pingMs?: number;
  readonly commentMs?: number;
}

const querystring = closed({
  after: Type.Optional(
    Type.Integer({
      minimum: 0,
      default: 0,
      description: 'The last event you have; 0 for all. More than `head` counts as `head`.',
    }),
  ),
  limit: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 1000,
      default: DEFAULT_PAGE,
      description: 'JSON: most events of the page, which has fewer when they are large.',
    }),
  ),
  wait: Type.Optional(
    Type.Number({
      minimum: 0,
      maximum: 60,
      default: 0,
      description: 'JSON: when there is nothing yet, wait this many seconds for it.',
    }),
  ),
  token: Type.Optional(
    Type.String({
      maxLength: 1100,
      description:
        'Of `POST /v1/sessions/{sessionId}/tokens`, for a browser’s EventSource or WebSocket, which can send no key.',
    }),
  ),
});

const security: Record<string, string[]>[] = [{ apiKey: [] }, { streamToken: [] }, {}];
const config = { acceptsStreamToken: true };

const headers = Type.Object({
  'last-event-id': Type.Optional(
    Type.Integer({ minimum: 0, description: 'SSE: the last `id` you have; wins over `after`.' }),
  ),
});

const description =
  'Events in order, each with its number, from the one after `after` on. JSON by default; with ' +
  '`Accept: text/event-stream` as server-sent events, and with `Upgrade: websocket` one to a message (see ' +
  '`asyncapi.json`), in both cases first what is stored and then live. Once everything is delivered a finished ' +
  'stream ends; a browser that then comes again with `Last-Event-ID` is answered 204, which tells it to stop. ' +
  'Behind `nextAfter` there may be more as long as it is smaller than `head`, and no page is ever cut silently.';

type EventsRequest = FastifyRequest<{
  Querystring: { after?: number; limit?: number; wait?: number };
  Headers: { 'last-event-id'?: number };
}>;

/** Whether the client prefers server-sent events to JSON (RFC 9110, 12.5.1); who accepts both alike gets JSON unless it
 *  names the stream first. */
function wantsStream(request: FastifyRequest): boolean {
  const types = new Negotiator(request.raw).mediaTypes(['application/json', EVENT_STREAM]);
  return types[0] === EVENT_STREAM;
}

export async function eventRoutes(app: Server, options: EventRoutesOptions): Promise<void> {
  const { reader, places, pingMs = 20_000, commentMs = 15_000 } = options;
  const named = [
    ...EVENT_SCHEMAS,
    EventUnion,
    EventPage,
    OutputStream,
    ...TASK_MESSAGES,
    ...DASHBOARD_MESSAGES,
  ];
  for (const each of named) if (!app.getSchema(each.$id!)) app.addSchema(each);
  await app.register(websocket, {
    options: {
      maxPayload: MAX_CLIENT_MESSAGE_BYTES,
      perMessageDeflate: false,
      handleProtocols: chooseSubprotocol,
    },
    // Sockets are ended below, each with its last events; the plugin would cut them off.
    preClose: (done) => done(),
    // The socket has closed itself with the right code, e.g. 1009.
    errorHandler: (error, _socket, request) =>
      request.log.debug({ err: error }, 'event socket broken by client'),
  });
  // What is wrong with the handshake itself, e.g. no key.
  app.websocketServer.on('wsClientError', (error, socket, request) => {
    const refused = new ValidationFailed([
      { where: '/headers', rule: `must open a WebSocket: ${error.message}` },
    ]);
    endWithProblem(socket, refused, requestId(request));
  });
  app.addHook('onRequest', (request, _reply, done) => {
    if (request.headers.upgrade === undefined || !request.routeOptions.url?.endsWith('/stream'))
      return done();
    const rule = 'must not be there: this is a stream of server-sent events; the WebSocket is at …/events';
    throw new ValidationFailed([{ where: '/headers/upgrade', rule }]);
  });
  app.addHook('preClose', () => places.close());

  const compile = checkCompiler(app.getSchemas() as never, 'json');
  const checksOf = (
    schemas: readonly (typeof TASK_MESSAGES | typeof DASHBOARD_MESSAGES)[number][],
  ): MessageChecks =>
    Object.fromEntries(schemas.map((schema) => [schema.properties.op.const, compile(ref(schema), '')]));
  const taskChecks = checksOf(TASK_MESSAGES);
  const dashboardChecks = checksOf(DASHBOARD_MESSAGES);

  /** A token sees one session; the others are not there. */
  const isHidden = ({ principal }: FastifyRequest, { session }: View) =>
    principal.onlyEventsOf !== undefined && principal.onlyEventsOf !== session.id;
  const sessionView = async (request: FastifyRequest): Promise<View> => {
    const { sessionId } = request.params as { sessionId: string };
    const view = { session: await options.findSession(request.principal, sessionId) };
    if (isHidden(request, view)) throw new SessionNotFound(sessionId);
    return view;
  };
  const taskView = async (request: FastifyRequest): Promise<View> => {
    const { taskId } = request.params as { taskId: string };
    const view = await options.findTask(request.principal, taskId);
    if (isHidden(request, view)) throw new TaskNotFound(taskId);
    return view;
  };

  async function sendEvents(request: EventsRequest, reply: FastifyReply, view: View) {
    const { after = 0, limit = DEFAULT_PAGE, wait = 0 } = request.query;
    reply.header('vary', 'Accept');
    if (wantsStream(request)) return sendStream(request, reply, view);
    const waiting = new AbortController();
    const stopWaiting = () => waiting.abort();
    reply.raw.once('close', stopWaiting);
    // Not AbortSignal.any: a signal that lives as long as we do would remember each one made of it.
    places.lastCall.addEventListener('abort', stopWaiting);
    if (places.lastCall.aborted) stopWaiting();
    try {
      const waitMs = wait * 1000;
      const page = await readPage({ reader, view, after, limit, waitMs, signal: waiting.signal });
      return reply.type('application/json; charset=utf-8').send(page);
    } finally {
      places.lastCall.removeEventListener('abort', stopWaiting);
    }
  }

  async function sendStream(request: EventsRequest, reply: FastifyReply, view: View) {
    const after = request.headers['last-event-id'] ?? request.query.after ?? 0;
    const comesAgain = request.headers['last-event-id'] !== undefined;
    if (comesAgain && (await reader.isComplete(view, after))) return reply.code(204).send();
    const leave = places.take(() => body.destroy());
    if (!leave) throw new TooManyReaders(places.limit);
    const { lastCall } = places;
    const body = sseStream({
      read: (signal) => reader.read({ ...view, after, signal, follow: true, lastCall }),
      commentMs,
      onError: (error) => request.log.error({ err: error }, 'event stream failed'),
      onEnd: leave,
    });
    reply.header('content-type', 'text/event-stream; charset=utf-8');
    // Proxies that gather a reply before they pass it on are told not to.
    return reply.header('cache-control', 'no-store').header('x-accel-buffering', 'no').send(body);
  }

  function serveSocket(
    socket: WebSocket,
    request: FastifyRequest,
    checks: MessageChecks,
    serve: (context: SocketContext) => Promise<void>,
  ): void {
    const connection = new Connection({ socket, transport: request.raw.socket, pingMs });
    const leave = places.take(() => connection.cut());
    if (!leave) {
      connection.refuse(places.lastCall.aborted ? CLOSE.stopping : CLOSE.tooMany);
      return;
    }
    connection.gone.addEventListener('abort', leave);
    const { principal, log } = request;
    const describe = (error: unknown) => {
      const shown = toPublicError(error, request);
      if (shown.status >= 500)
        log.error({ err: shown.cause ?? shown, code: shown.code }, 'client message failed');
      return problemDocument(shown, request.id);
    };
    const { lastCall } = places;
    void serve({ socket, connection, principal, log: log as never, checks, lastCall, describe });
  }

  function serveView(
    socket: WebSocket,
    request: FastifyRequest,
    findView: (request: FastifyRequest) => Promise<View>,
  ) {
    const { after = 0 } = (request as EventsRequest).query;
    serveSocket(socket, request, taskChecks, (context) =>
      serveEvents({ ...context, reader, tasks: options, after, findView: () => findView(request) }),
    );
  }

  const schema = { tags: ['Events'], description, security, querystring, headers };
  const responses = {
    200: {
      description: 'A page of JSON, or the stream.',
      content: {
        'application/json': { schema: ref(EventPage) },
        'text/event-stream': { schema: Type.String() },
      },
    },
    204: Type.Null({ description: 'SSE, resumed: the stream is complete.' }),
  };

  app.route({
    method: 'GET',
    config,
    // It would take a reader’s place and never give it back.
    exposeHeadRoute: false,
    url: '/sessions/:sessionId/events',
    schema: {
      ...schema,
      operationId: 'listSessionEvents',
      summary: 'Events of a session',
      params: closed({ sessionId: SessionId }),
      response: { ...responses, ...errorResponses('SESSION_NOT_FOUND', 'CAPACITY_EXCEEDED') },
    },
    handler: async (request, reply) =>
      sendEvents(request as EventsRequest, reply, await sessionView(request)),
    wsHandler: (socket, request) => serveView(socket, request, sessionView),
  });

  app.route({
    method: 'GET',
    config,
    // It would take a reader’s place and never give it back.
    exposeHeadRoute: false,
    url: '/tasks/:taskId/events',
    schema: {
      ...schema,
      operationId: 'listTaskEvents',
      summary: 'Events of a task',
      params: closed({ taskId: TaskId }),
      response: { ...responses, ...errorResponses('TASK_NOT_FOUND', 'CAPACITY_EXCEEDED') },
    },
    handler: async (request, reply) => sendEvents(request as EventsRequest, reply, await taskView(request)),
    wsHandler: (socket, request) => serveView(socket, request, taskView),
  });

  const streamed = {
    tags: ['Events'],
    description:
      'The stream that `…/events` gives to a client which prefers `text/event-stream`, at an address of its own: a generated client need not set a header. First what is stored after `after`, or after `Last-Event-ID`, then live.',
    security,
    querystring: closed({ after: querystring.properties.after, token: querystring.properties.token }),
    headers,
  };
  const stream = {
    200: {
      description: 'The stream.',
      content: { [EVENT_STREAM]: { schema: Type.String() } },
    },
    204: responses[204],
  };
  for (const { url, operationId, summary, params, errors, findView } of [
    {
      ...{ url: '/sessions/:sessionId/events/stream', operationId: 'streamSessionEvents' },
      ...{ summary: 'Stream the events of a session', params: closed({ sessionId: SessionId }) },
      errors: errorResponses('SESSION_NOT_FOUND', 'CAPACITY_EXCEEDED'),
      findView: sessionView,
    },
    {
      ...{ url: '/tasks/:taskId/events/stream', operationId: 'streamTaskEvents' },
      ...{ summary: 'Stream the events of a task', params: closed({ taskId: TaskId }) },
      errors: errorResponses('TASK_NOT_FOUND', 'CAPACITY_EXCEEDED'),
      findView: taskView,
    },
  ]) {
    app.get(
      url,
      {
        config,
        exposeHeadRoute: false,
        schema: { ...streamed, operationId, summary, params, response: { ...stream, ...errors } },
      },
      async (request, reply) => sendStream(request as EventsRequest, reply, await findView(request)),
    );
  }

  app.route({
    method: 'GET',
    url: '/events',
    exposeHeadRoute: false,
    schema: { hide: true } as never,
    handler: (request, reply) => {
      reply.header('upgrade', 'websocket').header('connection', 'upgrade');
      throw new UpgradeRequired(request.routeOptions.url!);
    },
    wsHandler: (socket, request) =>
      serveSocket(socket, request, dashboardChecks, (context) =>
        serveDashboard({ ...context, reader, findSession: options.findSession }),
      ),
  });
}
