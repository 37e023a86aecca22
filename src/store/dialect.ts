// Kysely on SQLite in another thread. It reads; what it compiles for writing goes through `Store.write`.
import {
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely';

export interface Rows {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly unknown[])[];
}

/** `read` runs one compiled statement on the reading connection. */
export function readingDialect(read: (query: CompiledQuery) => Promise<Rows>): Dialect {
  const connection: DatabaseConnection = {
    async executeQuery<R>(query: CompiledQuery): Promise<QueryResult<R>> {
      const { columns, rows } = await read(query);
      return { rows: rows.map((row) => toObject(columns, row) as R) };
    },
    streamQuery: () => {
      throw new Error('read in pages: a stream would hold the reading connection');
    },
  };
  const refuse = async () => {
    throw new Error('transactions are units of Store.write');
  };
  const driver: Driver = {
    init: async () => {},
    acquireConnection: async () => connection,
    releaseConnection: async () => {},
    beginTransaction: refuse,
    commitTransaction: refuse,
    rollbackTransaction: refuse,
    destroy: async () => {},
  };
  return {
    createDriver: () => driver,
    createAdapter: () => new SqliteAdapter(),
    createIntrospector: (db) => new SqliteIntrospector(db),
    createQueryCompiler: () => new SqliteQueryCompiler(),
  };
}

function toObject(columns: readonly string[], row: readonly unknown[]): Record<string, unknown> {
  const object: Record<string, unknown> = {};
  for (let index = 0; index < columns.length; index++) object[columns[index]!] = row[index];
  return object;
}
