// SQLite as we use it: six methods, which Node's own `node:sqlite` has from 22.16 on and `libsql` has everywhere.
// Synchronous, so only ever opened inside the store's workers.
import { createRequire } from 'node:module';

export interface ResultSet {
  readonly columns: readonly string[];
  /** Blobs are Uint8Arrays. */
  readonly rows: readonly (readonly unknown[])[];
}

export interface PreparedStatement {
  /** Of the rows it gives; none when it is neither a select nor has a `returning`. */
  readonly columns: readonly string[];
  /** How many rows it changed. */
  run(parameters: readonly unknown[]): number;
  /** The first row, for half of what `all` costs. What it has to change is changed whole. */
  get(parameters: readonly unknown[]): readonly unknown[] | undefined;
  all(parameters: readonly unknown[]): ResultSet;
}

export interface Database {
  readonly driver: 'node:sqlite' | 'libsql';
  exec(sql: string): void;
  prepare(sql: string): PreparedStatement;
  close(): void;
}

/** What SQLite answered, whichever driver asked: `code` is its extended result code. */
export class SqliteError extends Error {
  constructor(
    readonly code: number,
    cause: Error,
  ) {
    super(cause.message, { cause });
  }
}

/** How long a statement waits for another connection before it fails. */
export const BUSY_TIMEOUT_MS = 5000;

export function openDatabase(path: string): Database {
  const builtin = process.getBuiltinModule?.('node:sqlite') as BuiltinSqlite | undefined;
  const complete = builtin !== undefined && 'setReturnArrays' in builtin.StatementSync.prototype;
  return complete ? openBuiltin(builtin, path) : openLibsql(path);
}

/** The part of `node:sqlite` that is used; the types of our oldest Node do not know it. */
interface BuiltinSqlite {
  readonly StatementSync: { readonly prototype: object };
  readonly DatabaseSync: new (
    path: string,
  ) => {
    exec(sql: string): void;
    close(): void;
    prepare(sql: string): {
      setReturnArrays(enabled: boolean): void;
      columns(): { name: string }[];
      run(...parameters: readonly unknown[]): { changes: number | bigint };
      get(...parameters: readonly unknown[]): unknown[] | undefined;
      all(...parameters: readonly unknown[]): unknown[][];
    };
  };
}

function openBuiltin({ DatabaseSync }: BuiltinSqlite, path: string): Database {
  const asSqliteError = translate((error: Error & { errcode?: number }) => error.errcode);
  const db = asSqliteError(() => new DatabaseSync(path));
  db.exec(`pragma busy_timeout = ${BUSY_TIMEOUT_MS}`);
  return {
    driver: 'node:sqlite',
    exec: (sql) => asSqliteError(() => db.exec(sql)),
    close: () => db.close(),
    prepare: (sql) => {
      const statement = asSqliteError(() => db.prepare(sql));
      statement.setReturnArrays(true);
      const columns = statement.columns().map(({ name }) => name);
      return {
        columns,
        run: (parameters) => asSqliteError(() => Number(statement.run(...parameters).changes)),
        get: (parameters) => asSqliteError(() => statement.get(...parameters)),
        all: (parameters) => asSqliteError(() => ({ columns, rows: statement.all(...parameters) })),
      };
    },
  };
}

/** The part of `libsql` that is used; it has no types of its own. */
interface LibsqlConnection {
  exec(sql: string): void;
  close(): void;
  prepare(sql: string): {
    readonly reader: boolean;
    raw(): unknown;
    columns(): { name: string }[];
    run(parameters: readonly unknown[]): { changes: number };
    get(parameters: readonly unknown[]): unknown[] | undefined;
    all(parameters: readonly unknown[]): unknown[][];
  };
}

function openLibsql(path: string): Database {
  const Connection = createRequire(import.meta.url)('libsql') as new (
    path: string,
    options: { timeout: number },
  ) => LibsqlConnection;
  const asSqliteError = translate((error: Error & { rawCode?: number }) => error.rawCode);
  const db = asSqliteError(() => new Connection(path, { timeout: BUSY_TIMEOUT_MS }));
  return {
    driver: 'libsql',
    exec: (sql) => asSqliteError(() => db.exec(sql)),
    close: () => db.close(),
    prepare: (sql) => {
      const statement = asSqliteError(() => db.prepare(sql));
      const givesRows = statement.reader;
      // Only in raw mode are blobs Buffers.
      if (givesRows) statement.raw();
      const columns = givesRows ? statement.columns().map(({ name }) => name) : [];
      return {
        columns,
        run: (parameters) => asSqliteError(() => statement.run(parameters).changes),
        get: (parameters) => asSqliteError(() => statement.get(parameters)),
        all: (parameters) => asSqliteError(() => ({ columns, rows: statement.all(parameters) })),
      };
    },
  };
}

function translate<E extends Error>(codeOf: (error: E) => number | undefined) {
  return <T>(work: () => T): T => {
    try {
      return work();
    } catch (error) {
      const code = codeOf(error as E);
      throw code === undefined ? error : new SqliteError(code, error as Error);
    }
  };
}
