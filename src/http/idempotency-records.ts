// The stored side of Idempotency-Key: one row for each tenant, method, path and key, kept for a day.
import type { Logger } from '../observability/logger.js';
import type { IdempotencyRow } from '../store/schema.js';
import { DuplicateKey, type Statement, type Store } from '../store/store.js';

export const KEPT_MS = 24 * 3600 * 1000;
const SWEPT_AT_ONCE = 200;
const SWEEP_EVERY_MS = 3600 * 1000;

export type RecordKey = Pick<IdempotencyRow, 'tenant' | 'method' | 'path' | 'key'>;

export interface StoredReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

export interface IdempotencyRecordsOptions {
  readonly store: Store;
  readonly log: Logger;
  readonly now?: () => number;
}

export class IdempotencyRecords {
  readonly #store: Store;
  readonly #log: Logger;
  readonly #now: () => number;
  #started: Promise<void> | undefined;
  #sweeping: NodeJS.Timeout | undefined;

  constructor({ store, log, now = Date.now }: IdempotencyRecordsOptions) {
    this.#store = store;
    this.#log = log;
    this.#now = now;
  }

  /** Marks what the last run left `running`: nobody will ever know how far it came. */
  start(): Promise<void> {
    this.#started ??= this.#begin();
    return this.#started;
  }

  close(): void {
    clearInterval(this.#sweeping);
  }

  async find(record: RecordKey): Promise<IdempotencyRow | undefined> {
    return this.#store.query
      .selectFrom('idempotency')
      .selectAll()
      .where('tenant', '=', record.tenant)
      .where('method', '=', record.method)
      .where('path', '=', record.path)
      .where('key', '=', record.key)
      .where('created_at', '>=', this.#oldest())
      .executeTakeFirst();
  }

  /** Records that the request runs from now on; or gives the record that is there already. */
  async begin(record: RecordKey, bodyHash: string): Promise<IdempotencyRow | undefined> {
    try {
      await this.#store.write(this.#insert(record, { body_hash: bodyHash, state: 'running', task: null }));
      return undefined;
    } catch (error) {
      if (!(error instanceof DuplicateKey)) throw error;
      // The other request may have ended without a reply worth keeping in between: then it is our turn.
      return (await this.find(record)) ?? this.begin(record, bodyHash);
    }
  }

  async complete(record: RecordKey, reply: StoredReply): Promise<void> {
    const statement = this.#matching(
      this.#store.query.updateTable('idempotency').set({
        state: 'done',
        status: reply.status,
        headers: JSON.stringify(reply.headers),
        body: reply.body,
      }),
      record,
    );
    await this.#store.write([statement]);
  }

  /** The request may be tried anew. */
  async forget(record: RecordKey): Promise<void> {
    await this.#store.write([this.#matching(this.#store.query.deleteFrom('idempotency'), record)]);
  }

  /** Statements that record a submission together with the task it made. */
  forTask(record: RecordKey, bodyHash: string, taskId: string): Statement[] {
    return this.#insert(record, { body_hash: bodyHash, state: 'done', task: taskId });
  }

  /** Removes what is older than a day, a slice at a time, so that no commit of anybody waits long for it. */
  async sweep(): Promise<void> {
    const sql = `delete from idempotency where (tenant, method, path, key) in
 (select tenant, method, path, key from idempotency where created_at < ? limit ${SWEPT_AT_ONCE})`;
    for (;;) {
      const [removed] = await this.#store.write([{ sql, parameters: [this.#oldest()] }]);
      if (removed!.changes < SWEPT_AT_ONCE) return;
    }
  }

  async #begin(): Promise<void> {
    // The state is written out, for the index is of these alone.
    const sql = "update idempotency set state = 'unknown' where state = 'running'";
    await this.#store.write([{ sql, parameters: [] }]);
    await this.sweep();
    this.#sweeping = setInterval(() => {
      this.sweep().catch((error) => this.#log.error({ err: error }, 'idempotency records not swept'));
    }, SWEEP_EVERY_MS).unref();
  }

  /** An expired record makes place for the new one in the same unit. */
  #insert(record: RecordKey, values: Pick<IdempotencyRow, 'body_hash' | 'state' | 'task'>): Statement[] {
    const { query } = this.#store;
    const row = { ...record, ...values, status: null, headers: null, body: null, created_at: this.#now() };
    return [
      this.#matching(query.deleteFrom('idempotency').where('created_at', '<', this.#oldest()), record),
      query.insertInto('idempotency').values(row).compile(),
    ];
  }

  #matching<Q extends Matchable<Q>>(statement: Q, record: RecordKey): Statement {
    return statement
      .where('tenant', '=', record.tenant)
      .where('method', '=', record.method)
      .where('path', '=', record.path)
      .where('key', '=', record.key)
      .compile();
  }

  #oldest(): number {
    return this.#now() - KEPT_MS;
  }
}

interface Matchable<Q> {
  where(column: keyof RecordKey, operator: '=', value: string): Q;
  compile(): Statement;
}
