// Kysely as CommonJS: so its 262 files load in two thirds of the time, and keep 6 MiB less, than as ES modules. Types come
// from 'kysely' as ever.
import { createRequire } from 'node:module';

const kysely = createRequire(import.meta.url)('kysely') as typeof import('kysely');

export const { Kysely, SqliteAdapter, SqliteIntrospector, SqliteQueryCompiler, sql } = kysely;
