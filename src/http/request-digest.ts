// Tells whether two requests to one address ask for the same thing.
import { createHash } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { ValidationFailed } from '../errors.js';

const MAX_DEPTH = 100;

/** SHA-256 over query and body. The order of members and parameters does not count, nor how long the caller waits. */
export function requestDigest({ query, body }: Pick<FastifyRequest, 'query' | 'body'>): string {
  const { wait: _, ...asked } = (query ?? {}) as Record<string, unknown>;
  const hash = createHash('sha256').update(canonicalJson(asked)).update('\n');
  if (body instanceof Uint8Array) hash.update(body);
  else if (body !== undefined) hash.update(canonicalJson(body));
  return hash.digest('hex');
}

/** JSON with the members of every object in alphabetical order. */
export function canonicalJson(value: unknown, depth = 0): string {
  if (depth > MAX_DEPTH) {
    throw new ValidationFailed([{ where: '/body', rule: `must not be nested deeper than ${MAX_DEPTH}` }]);
  }
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item, depth + 1)).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, member]) => `${JSON.stringify(name)}:${canonicalJson(member, depth + 1)}`);
  return `{${members.join(',')}}`;
}
