// Lists, the same everywhere: newest first, a page at a time, filtered by state and labels.
import { type Static, type TSchema, Type } from '@sinclair/typebox';
import { ValidationFailed } from '../errors.js';
import { closed, nullable, ref } from '../lib/typebox.js';
import type { Listed } from '../store/page.js';

const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 200;
const METADATA = 'metadata.';

/** Where a page ended; the next one begins after it. */
interface Position {
  readonly createdAt: number;
  readonly id: string;
}

/** What a list was asked for, parsed. `values` holds the comma-separated filters. */
export interface ListRequest {
  readonly limit: number;
  readonly before?: Position;
  readonly createdAfter?: number;
  readonly metadata: { key: string; value: string }[];
  readonly values: Readonly<Record<string, string[] | undefined>>;
}

export interface ListQueryOptions {
  /** Members of one value. */
  readonly more?: Readonly<Record<string, TSchema>>;
  /** What is listed has labels that can be asked for. Default: true. */
  readonly hasLabels?: boolean;
}

/** The query of a list; `filters` are members that take one or more of these values, separated by commas. */
export function listQuery(
  filters: Readonly<Record<string, readonly string[]>>,
  { more = {}, hasLabels = true }: ListQueryOptions = {},
) {
  const named = Object.fromEntries(
    Object.entries(filters).map(([name, values]) => {
      const one = `(?:${values.map((value) => value.replaceAll('.', '\\.')).join('|')})`;
      return [
        name,
        Type.Optional(
          Type.String({
            pattern: `^${one}(?:,${one})*$`,
            description: `One or more, separated by commas, of: ${values.join(', ')}.`,
            examples: [values[0]],
          }),
        ),
      ];
    }),
  );
  return Type.Object(
    {
      limit: Type.Optional(
        Type.Integer({
          minimum: 1,
          maximum: MAX_LIMIT,
          default: DEFAULT_LIMIT,
          description: 'Items of a page.',
        }),
      ),
      cursor: Type.Optional(Type.String({ description: '`nextCursor` of the page before.' })),
      createdAfter: Type.Optional(
        Type.String({ format: 'date-time', description: 'Only those created later.' }),
      ),
      ...named,
      ...more,
    },
    {
      additionalProperties: false,
      ...(hasLabels && {
        patternProperties: {
          '^metadata\\.[\\s\\S]{1,128}$': Type.String({
            description: '`metadata.KEY=VALUE`: only those with this label.',
          }),
        },
      }),
    },
  );
}

/** Reads a query that its schema has let through. Throws ValidationFailed for a cursor that is none of ours. */
export function listRequest(query: object): ListRequest {
  const {
    limit = DEFAULT_LIMIT,
    cursor,
    createdAfter,
    ...rest
  } = query as Record<string, string | undefined> & {
    limit?: number;
  };
  const entries = Object.entries(rest) as [string, string][];
  return {
    limit,
    ...(cursor === undefined ? {} : { before: decodeCursor(cursor) }),
    ...(createdAfter === undefined ? {} : { createdAfter: parseTime(createdAfter) }),
    metadata: entries
      .filter(([name]) => name.startsWith(METADATA))
      .map(([name, value]) => ({ key: name.slice(METADATA.length), value })),
    values: Object.fromEntries(
      entries.filter(([name]) => !name.startsWith(METADATA)).map(([name, value]) => [name, value.split(',')]),
    ),
  };
}

/** Milliseconds since 1970. A leap second is a valid time of RFC 3339, and none that JavaScript knows. */
function parseTime(createdAfter: string): number {
  const time = Date.parse(createdAfter);
  if (Number.isNaN(time)) {
    const rule = 'must be a time whose seconds are at most 59, e.g. 2026-11-22T21:03:05Z';
    throw new ValidationFailed([{ where: '/query/createdAfter', given: createdAfter, rule }]);
  }
  return time;
}

/** The reply of a list, as a component of this name. */
export function listReply<T extends TSchema>(item: T, $id: string) {
  return closed(
    {
      items: Type.Array(ref(item) as unknown as ReturnType<typeof Type.Unsafe<Static<T>>>),
      nextCursor: nullable(Type.String(), {
        description:
          'Give it as `cursor` for the next page; null on the last. A page may have fewer items than `limit` though more follow: those that hold more than 4 MiB together are divided.',
      }),
    },
    { $id },
  );
}

/** The page that holds these items. */
export function toPage<T>({ items, next }: Listed<T>) {
  return { items, nextCursor: next ? encodeCursor({ createdAt: next.created_at, id: next.id }) : null };
}

function encodeCursor({ createdAt, id }: Position): string {
  return Buffer.from(`${createdAt}.${id}`).toString('base64url');
}

function decodeCursor(cursor: string): Position {
  const match = /^(\d{1,15})\.([a-z]{3}_[0-9a-z]{26})$/.exec(
    Buffer.from(cursor, 'base64url').toString('latin1'),
  );
  if (!match) {
    throw new ValidationFailed([
      { where: '/query/cursor', given: cursor, rule: 'must be a nextCursor of this list' },
    ]);
  }
  return { createdAt: Number(match[1]), id: match[2]! };
}
