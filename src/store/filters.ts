// Conditions that several lists share, in SQL that SQLite and Postgres both read.
import { sql } from 'kysely';

/** The value of one label in a row's `metadata`. */
export function metadataValue(key: string) {
  return sql<string>`metadata ->> ${key}`;
}

/** Rows that come after this one in a list with the newest first. */
export function olderThan(last: { readonly createdAt: number; readonly id: string }) {
  return sql<boolean>`(created_at < ${last.createdAt} or (created_at = ${last.createdAt} and id < ${last.id}))`;
}

/** The bytes of a text, not its characters; known without reading the text. */
export function byteLength(column: string) {
  return sql<number>`octet_length(${sql.ref(column)})`;
}
