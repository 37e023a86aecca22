// Web pages the operator has named may call from a browser: it asks first (preflight) and reads only what we expose.
import type { FastifyInstance } from 'fastify';

const METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE';
const REQUEST_HEADERS =
  'authorization, content-type, idempotency-key, if-match, if-none-match, last-event-id, range, x-request-id';
const REPLY_HEADERS =
  'content-range, etag, idempotency-replayed, location, retry-after, www-authenticate, x-request-id';

/** Does nothing for other origins: their requests go on to be refused or served without these headers. */
export function admitPages(app: FastifyInstance, allowedOrigins: readonly string[]): void {
  if (allowedOrigins.length === 0) return;
  app.addHook('onRequest', async (request, reply) => {
    const { origin } = request.headers;
    reply.header('vary', 'Origin');
    if (origin === undefined || !allowedOrigins.includes(origin.toLowerCase())) return;
    reply.header('access-control-allow-origin', origin);
    reply.header('access-control-expose-headers', REPLY_HEADERS);
    if (request.method === 'OPTIONS' && request.headers['access-control-request-method'] !== undefined) {
      reply.header('access-control-allow-methods', METHODS);
      reply.header('access-control-allow-headers', REQUEST_HEADERS);
      reply.header('access-control-max-age', '600');
      return reply.code(204).send();
    }
  });
}
