// Conditions that several lists share.
import { sql } from 'kysely';

/** The value of one label in a row's `metadata`. The key is compared with the keys that are there: `metadata ->> key`
 *  would take `$.a`, `[0]` or `1` for a path into the document. */
export function metadataValue(key: string) {
  return sql<string>`(select value from json_each(metadata) where key = ${key})`;
}

/** Rows that come after this one in a list with the newest first. */
export function olderThan(last: { readonly createdAt: number; readonly id: string }) {
  return sql<boolean>`(created_at < ${last.createdAt} or (created_at = ${last.createdAt} and id < ${last.id}))`;
}

/** The bytes of a text, not its characters; known without reading the text. */
export function byteLength(column: string) {
  return sql<number>`octet_length(${sql.ref(column)})`;
}

/** Of several texts together; null counts as nothing. */
export function byteLengths(...columns: readonly string[]) {
  return sql<number>`(${sql.join(
    columns.map((column) => sql`coalesce(${byteLength(column)}, 0)`),
    sql` + `,
  )})`;
}
