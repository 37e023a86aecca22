// The OpenAPI document and a page to read it on, made by a server of their own that answers nothing else. What that takes is
// loaded when somebody first asks: a service starts without it.
import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import Fastify, { type FastifyInstance, type FastifySchema, type RouteOptions } from 'fastify';
import type { ErrorCode } from '../errors.js';
import { VERSION } from '../lib/version.js';
import { finishDocument, type OpenApiDocument } from './openapi-finish.js';
import { type ErrorResponse, responsesFor } from './problem-schema.js';

const TAGS = [
  { name: 'Sessions', description: 'Workspaces in which code runs.' },
  { name: 'Tasks', description: 'Work in a session: one tool call each.' },
  { name: 'Events', description: 'Everything that happens, numbered; the WebSocket is in /asyncapi.json.' },
  { name: 'Checkpoints', description: 'Copies of a workspace, to go back to.' },
  { name: 'Tools', description: 'What a task can do.' },
  { name: 'Service', description: 'The service about itself.' },
];

const DESCRIPTION = `Isolated workspace sessions in which AI agents run code.

Errors are RFC 9457 problem documents; branch on \`code\`. Every change may be repeated under the same
\`Idempotency-Key\`. Each reply carries \`X-Request-Id\`: the caller’s, or one made here. The WebSocket channels are
described in \`/asyncapi.json\`.`;

const MUTATIONS = new Set(['POST', 'PUT', 'PATCH', 'DELETE']);

/** What calls that are open to all are never refused with. */
const ACCESS_CODES: readonly ErrorCode[] = [
  'UNAUTHORIZED',
  'HOST_NOT_ALLOWED',
  'ORIGIN_NOT_ALLOWED',
  'TOKEN_NOT_ALLOWED',
];

const IdempotencyKey = {
  type: 'string',
  minLength: 1,
  maxLength: 255,
  pattern: '^[\\x21-\\x7e]+$',
  description:
    'Makes the request repeatable: for 24 hours the same key with the same request gets the same reply, marked `Idempotency-Replayed: true`.',
};

/** Of the routes and named schemas of a server. Has `/docs`, and `swagger()` is the document. */
export async function buildApiPages(
  routes: readonly RouteOptions[],
  schemas: Readonly<Record<string, unknown>>,
): Promise<FastifyInstance> {
  const pages = Fastify();
  pages.setValidatorCompiler(() => () => true);
  pages.setSerializerCompiler(() => (data) => JSON.stringify(data));
  await pages.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'codegen-worker',
        version: VERSION,
        description: DESCRIPTION,
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } as never,
      },
      servers: [{ url: '/' }],
      tags: TAGS,
      components: {
        securitySchemes: {
          apiKey: {
            type: 'http',
            scheme: 'bearer',
            description: 'One of API_KEYS. Not needed when the service has none.',
          },
          streamToken: {
            type: 'apiKey',
            in: 'query',
            name: 'token',
            description: 'Of `POST /v1/sessions/{sessionId}/tokens`: reads the events of that session.',
          },
        },
      },
      security: [{ apiKey: [] }, {}],
    },
    convertConstToEnum: false,
    refResolver: {
      buildLocalReference: (json, _baseUri, _fragment, i) =>
        typeof json.$id === 'string' ? json.$id : `def-${i}`,
    },
    transform: ({ schema, url, route }) => ({ schema: withCommonParts(schema, route), url }),
    transformObject: (document) =>
      finishDocument((document as { openapiObject: OpenApiDocument }).openapiObject),
  });
  await pages.register(swaggerUi, {
    routePrefix: '/docs',
    uiConfig: { deepLinking: true, tryItOutEnabled: true },
  });
  for (const schema of Object.values(schemas)) pages.addSchema(schema);
  for (const { method, url, schema } of routes) {
    // Described here, and answered elsewhere: a path like /docs/../healthz comes to this server, too.
    pages.route({ method, url, schema: schema!, handler: (_request, reply) => reply.callNotFound() });
  }
  await pages.ready();
  return pages;
}

/** What is true of every operation of a kind is said here, once. */
function withCommonParts(schema: FastifySchema | undefined, route: RouteOptions): FastifySchema {
  if (schema === undefined || (schema as { hide?: boolean }).hide)
    return { ...schema, hide: true } as FastifySchema;
  const replies = (schema.response ?? {}) as Record<string, Partial<ErrorResponse>>;
  const codes = new Set<ErrorCode>(Object.values(replies).flatMap((reply) => reply['x-error-codes'] ?? []));
  const successes = Object.entries(replies).filter(([, reply]) => reply['x-error-codes'] === undefined);
  const isMutation = [route.method].flat().some((method) => MUTATIONS.has(method));
  if (isMutation) {
    codes.add('IDEMPOTENCY_IN_PROGRESS').add('IDEMPOTENCY_OUTCOME_UNKNOWN').add('IDEMPOTENCY_MISMATCH');
    codes.add('TOO_MANY_IDEMPOTENCY_KEYS');
  }
  if (schema.security?.length === 0) for (const code of ACCESS_CODES) codes.delete(code);
  if (schema.body) codes.add('PAYLOAD_TOO_LARGE').add('UNSUPPORTED_MEDIA_TYPE');
  return {
    ...schema,
    ...(isMutation ? { headers: { type: 'object', properties: { 'Idempotency-Key': IdempotencyKey } } } : {}),
    response: { ...Object.fromEntries(successes), ...responsesFor(codes) },
  };
}
