// The labels a client keeps on a session.
import { ValidationFailed } from '../errors.js';
import { MAX_LABELS, type Metadata } from './schema.js';

/** RFC 7396 for labels: null removes one. Throws ValidationFailed when too many are left. */
export function mergeLabels(kept: string, patch: Record<string, string | null>): Metadata {
  const merged = Object.entries({ ...(JSON.parse(kept) as Metadata), ...patch }).filter(
    (label): label is [string, string] => label[1] !== null,
  );
  if (merged.length > MAX_LABELS) {
    const rule = `must leave at most ${MAX_LABELS} labels`;
    throw new ValidationFailed([{ where: '/body/metadata', given: merged.length, rule }]);
  }
  return Object.fromEntries(merged);
}
