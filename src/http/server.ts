// The HTTP server before it has any route: identity of requests, bodies, validation, errors and a clean close.
import { createServer } from 'node:http';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyServerOptions,
  LogController,
  type RawReplyDefaultExpression,
  type RawRequestDefaultExpression,
  type RawServerDefault,
} from 'fastify';
import { ShuttingDown, ValidationFailed } from '../errors.js';
import type { Logger } from '../observability/logger.js';
import { answerBrokenHttp, judgeHeaders, requestId } from './broken-http.js';
import { cutConnectionsWhenClosing } from './connections.js';
import { acceptJson } from './json-body.js';
import { oneRequestAtATime } from './one-request-at-a-time.js';
import { answerProblems, sendProblem, toPublicError } from './problem.js';
import { checkCompiler, type Schemas, validatorCompiler } from './validation.js';

export type Server = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression<RawServerDefault>,
  RawReplyDefaultExpression<RawServerDefault>,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;

export interface ServerOptions {
  readonly jsonBodyBytes: number;
  /** Connections at once; more are closed as they come. Default: no bound. */
  readonly maxConnections?: number;
  readonly log: Logger;
  /** Every JSON reply is checked against its schema and a wrong one becomes a 500: for tests. */
  readonly checkReplies?: boolean;
}

const REQUEST_TIMEOUT_MS = 300_000;
/** Also of a connection that was opened and says nothing. */
const HEADERS_TIMEOUT_MS = 20_000;
const CONNECTIONS_CHECKED_EVERY_MS = 5_000;

/** Paths whose requests are too frequent and too dull for the log at `info`. */
const QUIET_PATHS = new Set(['/healthz', '/readyz', '/metrics']);

/** A second one of these is an attack on whoever reads the other one. */
const SINGLE_HEADERS = new Set(['host', 'authorization', 'origin', 'content-type', 'idempotency-key']);

export function buildServer({
  jsonBodyBytes,
  maxConnections,
  log,
  checkReplies = false,
}: ServerOptions): Server {
  const options: FastifyServerOptions<RawServerDefault, FastifyBaseLogger> = {
    // Its own words, such as the address that main.ts tells, are not for `info`; requests log as we do.
    loggerInstance: log.child({}, { level: log.isLevelEnabled('warn') ? 'warn' : log.level }),
    childLoggerFactory: (_own, bindings, options) => log.child(bindings, options),
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'requestId' }),
    bodyLimit: jsonBodyBytes,
    routerOptions: { maxParamLength: 256 },
    genReqId: requestId,
    // A request must have arrived whole in this time; one that is being answered may take as long as it wants.
    requestTimeout: REQUEST_TIMEOUT_MS,
    serverFactory: (handle, options) => {
      const { keepAliveTimeout } = options as { keepAliveTimeout?: number };
      const queued = oneRequestAtATime(handle);
      const server = createServer(
        {
          // Judged with the other headers, by a reply that says so.
          requireHostHeader: false,
          requestTimeout: REQUEST_TIMEOUT_MS,
          headersTimeout: HEADERS_TIMEOUT_MS,
          connectionsCheckingInterval: CONNECTIONS_CHECKED_EVERY_MS,
          ...(keepAliveTimeout === undefined ? {} : { keepAliveTimeout }),
        },
        queued,
      );
      server.on('checkContinue', queued).on('checkExpectation', queued);
      if (maxConnections !== undefined) server.maxConnections = maxConnections;
      return server;
    },
    return503OnClosing: false,
    clientErrorHandler: answerBrokenHttp as never,
    frameworkErrors: (error, request, reply) => {
      sendProblem(reply as never, toPublicError(error, request as never));
    },
    schemaController: {
      compilersFactory: {
        buildValidator: (schemas: Schemas) => validatorCompiler(schemas) as never,
        // Plain JSON: a serializer that drops what the schema does not name would hide our mistakes, not mend them.
        buildSerializer: (schemas?: unknown) =>
          checkReplies ? checkedSerializer(schemas as Schemas) : plainSerializer,
      },
    },
  };
  const app = Fastify(options).withTypeProvider<TypeBoxTypeProvider>();
  answerProblems(app);
  identifyRequests(app);
  judgeHeaders(app);
  acceptJson(app);
  refuseRequestsWhenClosing(app);
  cutConnectionsWhenClosing(app);
  closeRefusedUpgrades(app);
  logRequests(app);
  return app;
}

function identifyRequests(app: Server): void {
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('x-request-id', request.id);
    reply.header('x-content-type-options', 'nosniff');
    const seen = new Set<string>();
    for (let i = 0; i < request.raw.rawHeaders.length; i += 2) {
      const name = request.raw.rawHeaders[i]!.toLowerCase();
      if (!SINGLE_HEADERS.has(name)) continue;
      if (seen.has(name))
        throw new ValidationFailed([{ where: `/headers/${name}`, rule: 'must be sent once' }]);
      seen.add(name);
    }
    done();
  });
}

/** A keep-alive connection is told that there will be no next request. */
function refuseRequestsWhenClosing(app: Server): void {
  let closing = false;
  app.addHook('preClose', async () => {
    closing = true;
  });
  app.addHook('onRequest', (_request, _reply, done) => {
    done(closing ? new ShuttingDown() : undefined);
  });
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (closing) reply.header('connection', 'close');
    done();
  });
}

/** A refused WebSocket upgrade has left HTTP already: nobody else would close its socket. */
function closeRefusedUpgrades(app: Server): void {
  app.addHook('onResponse', ({ raw }, _reply, done) => {
    if (raw.headers.upgrade !== undefined) raw.socket.destroySoon();
    done();
  });
}

function logRequests(app: Server): void {
  app.addHook('onResponse', (request, reply, done) => {
    const route = request.routeOptions.url;
    const level = route !== undefined && QUIET_PATHS.has(route) ? 'debug' : 'info';
    request.log[level](
      {
        method: request.method,
        route: route ?? 'none',
        status: reply.statusCode,
        durationMs: Math.round(reply.elapsedTime * 10) / 10,
      },
      'request finished',
    );
    done();
  });
}

/** Takes any bytes as the body of the routes of this scope, whatever their Content-Type: `request.body` is a Buffer. */
export function acceptBytes(scope: FastifyInstance): void {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
}

const plainSerializer = () => (data: unknown) => JSON.stringify(data);

interface ReplyRoute {
  readonly schema?: unknown;
  readonly method: string;
  readonly url: string;
  readonly httpStatus: string;
}

function checkedSerializer(schemas: Schemas) {
  const compile = checkCompiler(schemas, 'json');
  return ({ schema, method, url, httpStatus }: ReplyRoute) => {
    const check = compile(schema, '');
    return (data: unknown) => {
      const text = JSON.stringify(data);
      const violations = text === undefined ? [] : check(JSON.parse(text));
      if (violations.length > 0) {
        throw new Error(
          `the reply ${httpStatus} to ${method} ${url} breaks its schema: ${JSON.stringify(violations)}`,
        );
      }
      return text;
    };
  };
}
