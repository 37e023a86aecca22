// Where a request carries its key or token: the Authorization header; for what browsers open without headers the offered
// subprotocols of a WebSocket, and for tokens alone the query. A key in a URL would end in logs and histories.
import type { FastifyRequest } from 'fastify';

/** The subprotocol that the service speaks; a browser wants one of those it offered to be chosen. */
export const SUBPROTOCOL = 'codegen-worker.v1';
const BEARER = 'codegen-worker.bearer.';
const BEARER_BASE64URL = 'codegen-worker.bearer64.';

/** A key or a token, from the first place that has one. */
export function credentialOf(request: FastifyRequest): string | undefined {
  const { authorization } = request.headers;
  if (authorization !== undefined) return /^Bearer +(\S+) *$/i.exec(authorization)?.[1];
  return fromSubprotocols(request) ?? tokenInQuery(request);
}

/** The subprotocol to answer with: never one that carries a secret. */
export function chooseSubprotocol(offered: Set<string>): string | false {
  if (offered.has(SUBPROTOCOL)) return SUBPROTOCOL;
  return [...offered].find((each) => !isSecret(each)) ?? false;
}

function fromSubprotocols({ headers }: FastifyRequest): string | undefined {
  if (headers.upgrade?.toLowerCase() !== 'websocket') return undefined;
  const secret = (headers['sec-websocket-protocol'] ?? '')
    .split(',')
    .map((each) => each.trim())
    .find(isSecret);
  if (secret === undefined) return undefined;
  return secret.startsWith(BEARER)
    ? secret.slice(BEARER.length)
    : Buffer.from(secret.slice(BEARER_BASE64URL.length), 'base64url').toString('latin1');
}

function tokenInQuery({ query }: FastifyRequest): string | undefined {
  const { token } = query as { token?: unknown };
  return typeof token === 'string' ? token : undefined;
}

function isSecret(subprotocol: string): boolean {
  return subprotocol.startsWith(BEARER) || subprotocol.startsWith(BEARER_BASE64URL);
}
