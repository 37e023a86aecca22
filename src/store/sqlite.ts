// The store of a single service: one SQLite file in WAL mode, every commit on disk before it is acknowledged. SQLite
// is synchronous, so it lives in two worker threads, one that writes and one that reads; a commit made by the first
// is seen by the next query of the second.
import { chmod, mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Transferable } from 'node:worker_threads';
import { type CompiledQuery, Kysely } from 'kysely';
import { StoreUnavailable } from '../errors.js';
import { type Rows, readingDialect } from './dialect.js';
import type { UnitResults } from './group-commit.js';
import { LastingWorker } from './lasting-worker.js';
import type { Tables } from './schema.js';
import type { Statement, StatementResult, Store, StoreSize } from './store.js';
import { WorkerClient } from './worker-client.js';

type Writer = LastingWorker<{ readonly statements: readonly Statement[] }, UnitResults>;
type Reader = LastingWorker<{ readonly sql: string; readonly parameters: readonly unknown[] }, Rows>;

export interface SqliteStoreOptions {
  readonly directory: string;
  /** Told when a thread has died, or could not be opened again yet. */
  readonly onWorkerLost?: (error: Error) => void;
}

export class SqliteStore implements Store {
  readonly query: Kysely<Tables>;
  readonly #directory: string;
  readonly #onWorkerLost: (error: Error) => void;
  #writer: Writer | undefined;
  #reader: Reader | undefined;
  #started: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  /** Keeps `store.db` and its lock in this directory. */
  constructor({ directory, onWorkerLost = () => {} }: SqliteStoreOptions) {
    this.#directory = directory;
    this.#onWorkerLost = onWorkerLost;
    this.query = new Kysely({ dialect: readingDialect((query) => this.#read(query)) });
  }

  start(): Promise<void> {
    this.#started ??= this.#open();
    return this.#started;
  }

  close(): Promise<void> {
    this.#closed ??= this.#shut();
    return this.#closed;
  }

  async write(unit: readonly Statement[]): Promise<readonly StatementResult[]> {
    if (!this.#writer) throw notOpen();
    const blobs: Transferable[] = [];
    const statements = unit.map((statement) => withOwnBlobs(statement, blobs));
    return (await this.#writer.ask({ statements }, blobs)).results;
  }

  async size(): Promise<StoreSize> {
    const pragma = async (sql: string) => Number((await this.#read({ sql, parameters: [] })).rows[0]![0]);
    const [pages, free, pageBytes] = await Promise.all(
      ['pragma page_count', 'pragma freelist_count', 'pragma page_size'].map(pragma),
    );
    return { usedBytes: (pages! - free!) * pageBytes!, fileBytes: pages! * pageBytes! };
  }

  async #read({ sql, parameters }: Pick<CompiledQuery, 'sql' | 'parameters'>): Promise<Rows> {
    if (!this.#reader) throw notOpen();
    const reader = this.#reader;
    return reader.ask({ sql, parameters }).catch((error: unknown) => {
      // Nothing is lost by asking another thread; but a query that ends threads is not tried for ever.
      if (!(error instanceof StoreUnavailable) || error.outcome !== 'unknown') throw error;
      return reader.ask({ sql, parameters });
    });
  }

  async #open(): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const path = join(this.#directory, 'store.db');
    const lockPath = join(this.#directory, 'store.lock');
    await keepPrivate(path);
    const lasting = <Q extends object, A extends object>(file: string, workerData: object) =>
      new LastingWorker<Q, A>(
        () => new WorkerClient(new URL(file, import.meta.url), workerData),
        this.#onWorkerLost,
      );
    this.#writer = lasting('./sqlite-writer.js', { path, lockPath });
    // Beside the other: it touches the file only when it is asked something, which is after this.
    this.#reader = lasting('./sqlite-reader.js', { path });
    const started = await Promise.allSettled([this.#writer.start(), this.#reader.start()]);
    const failed = started.find((each) => each.status === 'rejected');
    if (!failed) return;
    await this.#closeWorkers();
    throw failed.reason;
  }

  async #shut(): Promise<void> {
    await this.#started?.catch(() => {});
    await this.#closeWorkers();
  }

  async #closeWorkers(): Promise<void> {
    await this.#reader?.close();
    await this.#writer?.close();
  }
}

/** Environments of sessions are in there: for our eyes only. SQLite gives its other files the same mode when it makes
 *  them; what a killed service left keeps its own. An existing file is not opened: closing any descriptor of it would
 *  give away the locks that this process holds on it. */
async function keepPrivate(path: string): Promise<void> {
  const made = await open(path, 'ax', 0o600).catch(unless('EEXIST'));
  await made?.close();
  for (const each of [path, `${path}-wal`, `${path}-shm`]) await chmod(each, 0o600).catch(unless('ENOENT'));
}

function unless(expected: string): (error: NodeJS.ErrnoException) => undefined {
  return (error) => {
    if (error.code !== expected) throw error;
  };
}

function notOpen(): StoreUnavailable {
  return new StoreUnavailable(new Error('the store is not open'), 'notStarted');
}

/** Bytes are copied once and the copy is given away: the caller keeps its own, and a view never drags along the
 *  larger buffer it was cut from. */
function withOwnBlobs(statement: Statement, blobs: Transferable[]): Statement {
  if (!statement.parameters.some((parameter) => parameter instanceof Uint8Array)) return statement;
  const parameters = statement.parameters.map((parameter) => {
    if (!(parameter instanceof Uint8Array)) return parameter;
    const copy = new Uint8Array(parameter);
    blobs.push(copy.buffer);
    return copy;
  });
  return { ...statement, parameters };
}
