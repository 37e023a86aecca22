// Who may call. With API keys: whoever has one. Without: only programs of this machine, and no web page, which is why
// the name the caller used for us (Host) and the page it comes from (Origin) are looked at.
import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { isLoopback } from '../config.js';
import {
  HostNotAllowed,
  OriginNotAllowed,
  PublicError,
  TokenNotAllowed,
  TokenNotValid,
  Unauthorized,
} from '../errors.js';
import type { Principal } from '../lib/principal.js';
import { admitPages } from './browsers.js';
import { credentialOf } from './credentials.js';
import { isStreamToken, StreamTokens } from './stream-tokens.js';

declare module 'fastify' {
  interface FastifyRequest {
    principal: Principal;
  }
  interface FastifyContextConfig {
    /** The route reads events, and sees to it that a stream token reads only its own session's. */
    acceptsStreamToken?: boolean;
  }
}

export interface AccessOptions {
  readonly apiKeys: readonly string[];
  readonly allowedHosts: readonly string[];
  readonly allowedOrigins: readonly string[];
  readonly tokens?: StreamTokens;
  /** With API keys: whether the description of the API needs one, too. */
  readonly docsNeedKey?: boolean;
}

const DEFAULT_PRINCIPAL: Principal = { tenant: 'default' };

/** Anyone may ask whether the service lives: probes come by address and without a key. */
const PUBLIC_PATHS = new Set(['/healthz', '/readyz']);
/** The description of the API is the same everywhere, and a browser can send no key when it opens a page. */
const DOCS_PATHS = new Set(['/docs', '/docs/*', '/openapi.json', '/asyncapi.json']);

/** Guards every request to this server, WebSocket upgrades and unknown addresses included. */
export function guardAccess(app: FastifyInstance, options: AccessOptions): void {
  const { apiKeys, tokens = new StreamTokens(), docsNeedKey = false } = options;
  const authenticate = apiKeys.length > 0 ? byApiKey(apiKeys, tokens) : byPlace(options, tokens);
  const isPublic = (path: string) =>
    PUBLIC_PATHS.has(path) || (apiKeys.length > 0 && !docsNeedKey && DOCS_PATHS.has(path));
  admitPages(app, options.allowedOrigins);
  app.decorateRequest('principal', null as never);
  app.addHook('onRequest', (request, reply, done) => {
    if (isPublic(request.routeOptions.url ?? '')) return done();
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
function byApiKey(apiKeys: readonly string[], tokens: StreamTokens) {
  const digests = apiKeys.map(digest);
  return (request: FastifyRequest): Principal => {
    const given = credentialOf(request);
    if (given === undefined) throw new Unauthorized(request.headers.authorization !== undefined);
    const presented = digest(given);
    let known = false;
    for (const each of digests) known = timingSafeEqual(each, presented) || known;
    const isInQuery = given === (request.query as { token?: unknown }).token;
    if (known && !isInQuery) return DEFAULT_PRINCIPAL;
    if (isInQuery || isStreamToken(given)) return byToken(request, given, tokens);
    throw new Unauthorized(true);
  };
}

/** Judged by its signature first, so that a false one learns nothing about what a true one may do. */
function byToken(request: FastifyRequest, token: string, tokens: StreamTokens): Principal {
  const grant = tokens.read(token);
  if (!grant) throw new TokenNotValid();
  if (!request.routeOptions.config.acceptsStreamToken) throw new TokenNotAllowed();
  return { tenant: grant.tenant, onlyEventsOf: grant.session };
}

function digest(key: string): Buffer {
  return createHash('sha256').update(key).digest();
}

/** A page of evil.example can make a browser call 127.0.0.1 under its own name (DNS rebinding, seen in Host) or across
 *  origins (seen in Origin, which browsers send with every WebSocket upgrade and every request that changes things). */
function byPlace({ allowedHosts, allowedOrigins }: AccessOptions, tokens: StreamTokens) {
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
    // None is needed here; who shows one gets no more than it gives.
    const given = credentialOf(request);
    return given !== undefined && isStreamToken(given) ? byToken(request, given, tokens) : DEFAULT_PRINCIPAL;
  };
}

function withoutPort(host: string): string {
  return host.startsWith('[') ? host.slice(1).replace(/\](:\d+)?$/, '') : host.replace(/:\d+$/, '');
}

function isSameOrigin(origin: string, host: string): boolean {
  return origin.toLowerCase() === `http://${host}` || origin.toLowerCase() === `https://${host}`;
}
