const MAX_DEPTH = 100;

/** What is nested deeper than anybody means. */
export class NestedTooDeep extends Error {
  constructor(readonly maxDepth = MAX_DEPTH) {
    super(`nested deeper than ${maxDepth}`);
  }
}

/** JSON with the members of every object in alphabetical order, so that equal values have equal text.
 *  Throws NestedTooDeep. */
export function canonicalJson(value: unknown, depth = 0): string {
  if (depth > MAX_DEPTH) throw new NestedTooDeep();
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item, depth + 1)).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, member]) => `${JSON.stringify(name)}:${canonicalJson(member, depth + 1)}`);
  return `{${members.join(',')}}`;
}
