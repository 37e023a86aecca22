// Who may call. With API keys: whoever has one. Without: only programs of this machine, and no web page, which is why
// the name the caller used for us (Host) and the page it comes from (Origin) are looked at.
import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { isLoopback } from '../config.js';
import { HostNotAllowed, OriginNotAllowed, PublicError, Unauthorized } from '../errors.js';
import type { Principal } from '../lib/principal.js';
import { admitPages } from './browsers.js';

declare module 'fastify' {
  interface FastifyRequest {
    principal: Principal;
  }
}

export interface AccessOptions {
  readonly apiKeys: readonly string[];
  readonly allowedHosts: readonly string[];
  readonly allowedOrigins: readonly string[];
}

const DEFAULT_PRINCIPAL: Principal = { tenant: 'default' };

/** Anyone may ask whether the service lives: probes come by address and without a key. */
const PUBLIC_PATHS = new Set(['/healthz', '/readyz']);

/** Guards every request to this server, WebSocket upgrades and unknown addresses included. */
export function guardAccess(app: FastifyInstance, options: AccessOptions): void {
  const authenticate = options.apiKeys.length > 0 ? byApiKey(options.apiKeys) : byPlace(options);
  admitPages(app, options.allowedOrigins);
  app.decorateRequest('principal', null as never);
  app.addHook('onRequest', (request, reply, done) => {
    if (PUBLIC_PATHS.has(request.routeOptions.url ?? '')) return done();
    try {
      request.principal = authenticate(request);
    } catch (error) {
      if (error instanceof PublicError && error.status === 401) {
        reply.header('www-authenticate', 'Bearer realm="codegen-worker"');
      }
      throw error;
    }
    done();
  });
}

/** Keys are kept and compared as digests of one length, each of them to the end, so that time tells nothing. */
function byApiKey(apiKeys: readonly string[]) {
  const digests = apiKeys.map(digest);
  return (request: FastifyRequest): Principal => {
    const given = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? '')?.[1];
    if (given === undefined) throw new Unauthorized(request.headers.authorization !== undefined);
    const presented = digest(given);
    let known = false;
    for (const each of digests) known = timingSafeEqual(each, presented) || known;
    if (!known) throw new Unauthorized(true);
    return DEFAULT_PRINCIPAL;
  };
}

function digest(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}

/** A page of evil.example can make a browser call 127.0.0.1 under its own name (DNS rebinding, seen in Host) or across
 *  origins (seen in Origin, which browsers send with every WebSocket upgrade and every request that changes things). */
function byPlace({ allowedHosts, allowedOrigins }: AccessOptions) {
  return (request: FastifyRequest): Principal => {
    const host = (request.headers.host ?? '').toLowerCase();
    if (
      !isLoopback(withoutPort(host)) &&
      !allowedHosts.some((each) => each === host || each === withoutPort(host))
    ) {
      throw new HostNotAllowed(host);
    }
    const { origin } = request.headers;
    if (
      origin !== undefined &&
      !isSameOrigin(origin, host) &&
      !allowedOrigins.includes(origin.toLowerCase())
    ) {
      throw new OriginNotAllowed(origin);
    }
    return DEFAULT_PRINCIPAL;
  };
}

function withoutPort(host: string): string {
  return host.startsWith('[') ? host.slice(1).replace(/\](:\d+)?$/, '') : host.replace(/:\d+$/, '');
}

function isSameOrigin(origin: string, host: string): boolean {
  return origin.toLowerCase() === `http://${host}` || origin.toLowerCase() === `https://${host}`;
}
