// Every error a caller sees leaves through here, as RFC 9457 problem+json with a stable code.
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import {
  InternalError,
  MethodNotAllowed,
  NotFound,
  OutOfDisk,
  PayloadTooLarge,
  PublicError,
  UnsupportedMediaType,
  ValidationFailed,
} from '../errors.js';
import { clip } from '../lib/clip.js';
import { PROBLEM_TYPE, type Problem, problemTitle, problemType } from './problem-schema.js';

/** The document for an error; WebSocket messages carry the same. */
export function problemDocument(error: PublicError, requestId: string): Problem {
  return {
    ...error.extensions,
    type: problemType(error.code),
    title: problemTitle(error.code),
    status: error.status,
    detail: error.message,
    code: error.code,
    retryable: error.retryable,
    outcome: error.outcome,
    ...(error.suggestion === undefined ? {} : { suggestion: error.suggestion }),
    requestId,
    errors: [...error.errors],
  };
}

/** Characters of a path. */
const MOST_SHOWN = 200;

/** What the kernel says when a disk, or a user's share of it, is full. */
const NO_SPACE = ['ENOSPC', 'EDQUOT'];

/** The public face of anything that was thrown: public errors as they are, what Fastify refuses by name, and the rest
 *  as INTERNAL with nothing but a reference to the log. */
export function toPublicError(error: unknown, request: FastifyRequest): PublicError {
  if (error instanceof PublicError) return error;
  if (NO_SPACE.includes((error as NodeJS.ErrnoException | undefined)?.code ?? ''))
    return new OutOfDisk(error);
  const { code, statusCode, message } = (error ?? {}) as Partial<FastifyError>;
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return new PayloadTooLarge(request.routeOptions.bodyLimit);
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
    return new UnsupportedMediaType(request.headers['content-type'] ?? '');
  }
  const isFastifys = code?.startsWith('FST_') || error instanceof SyntaxError;
  if (isFastifys && statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    const where = code === undefined || code.startsWith('FST_ERR_CTP') ? '/body' : '/';
    return new ValidationFailed([{ where, rule: message ?? 'must be well formed' }]);
  }
  return new InternalError(error);
}

export function sendProblem(reply: FastifyReply, error: PublicError): FastifyReply {
  if (error.retryAfterSeconds !== undefined) {
    reply.header('retry-after', String(Math.max(1, Math.ceil(error.retryAfterSeconds))));
  }
  return reply
    .code(error.status)
    .type(PROBLEM_TYPE)
    .serializer(JSON.stringify)
    .send(problemDocument(error, reply.request.id));
}

/** Makes thrown errors and unknown addresses of this server into problem documents. */
export function answerProblems(app: FastifyInstance): void {
  app.setErrorHandler((error, request, reply) => {
    const shown = toPublicError(error, request);
    if (request.raw.socket.destroyed) {
      // What was cut off in the middle is no fault of ours, and nobody hears the answer.
      request.log.debug({ err: error }, 'client left before its reply');
    } else if (shown.status >= 500) {
      const level = shown.code === 'INTERNAL' || shown.cause !== undefined ? 'error' : 'warn';
      request.log[level]({ err: shown.cause ?? shown, code: shown.code }, 'request failed');
    }
    return sendProblem(reply, shown);
  });

  const methodsByPath = new Map<string, { pattern: RegExp; methods: Set<string> }>();
  app.addHook('onRoute', ({ url, method }) => {
    const known = methodsByPath.get(url) ?? { pattern: pathPattern(url), methods: new Set() };
    for (const each of [method].flat()) known.methods.add(each);
    methodsByPath.set(url, known);
  });

  const nothingHere = (path: string) => {
    const meant = path.replace(/\/{2,}/g, '/').replace(/(.)\/$/, '$1');
    const isThere = meant !== path && [...methodsByPath.values()].some(({ pattern }) => pattern.test(meant));
    return new NotFound(clip(path, MOST_SHOWN), isThere ? clip(meant, MOST_SHOWN) : undefined);
  };
  // `/v1/sessions/` is to the router a session whose id is empty.
  app.addHook('preParsing', (request, _reply, payload, done) => {
    const params = Object.entries((request.params ?? {}) as Record<string, string>);
    if (params.some(([name, value]) => name !== '*' && value === '')) throw nothingHere(pathOf(request));
    done(null, payload);
  });

  app.setNotFoundHandler((request, reply) => {
    const path = pathOf(request);
    const allowed = [...methodsByPath.values()]
      .filter(({ pattern }) => pattern.test(path))
      .flatMap(({ methods }) => [...methods]);
    if (allowed.length === 0) return sendProblem(reply, nothingHere(path));
    const methods = [...new Set(allowed)].sort();
    reply.header('allow', methods.join(', '));
    return sendProblem(reply, new MethodNotAllowed(request.method, clip(path, MOST_SHOWN), methods));
  });
}

/** What a path without a route is answered with. */
export function nothingAt(request: FastifyRequest): NotFound {
  return new NotFound(clip(pathOf(request), MOST_SHOWN));
}

function pathOf(request: FastifyRequest): string {
  return request.url.split('?', 1)[0]!;
}

function pathPattern(url: string): RegExp {
  const source = url
    .split('/')
    .map((part) =>
      part.startsWith(':') ? '[^/]+' : part.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*'),
    )
    .join('/');
  return new RegExp(`^${source}$`);
}
