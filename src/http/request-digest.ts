// Tells whether two requests to one address ask for the same thing.
import { createHash } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { ValidationFailed } from '../errors.js';
import { canonicalJson, NestedTooDeep } from '../lib/canonical-json.js';

/** SHA-256 over query and body. The order of members and parameters does not count, nor how long the caller waits. */
export function requestDigest({ query, body }: Pick<FastifyRequest, 'query' | 'body'>): string {
  const { wait: _, ...asked } = (query ?? {}) as Record<string, unknown>;
  const hash = createHash('sha256').update(canonicalJson(asked)).update('\n');
  if (body instanceof Uint8Array) hash.update(body);
  else if (body !== undefined) hash.update(canonicalBody(body));
  return hash.digest('hex');
}

function canonicalBody(body: unknown): string {
  try {
    return canonicalJson(body);
  } catch (error) {
    if (!(error instanceof NestedTooDeep)) throw error;
    throw new ValidationFailed([
      { where: '/body', rule: `must not be nested deeper than ${error.maxDepth}` },
    ]);
  }
}
