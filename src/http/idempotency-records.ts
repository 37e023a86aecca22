// The stored side of Idempotency-Key: one row for each tenant, method, path and key, kept for a day.

import { sql } from 'kysely';
import { TooManyIdempotencyKeys } from '../errors.js';
import type { Logger } from '../observability/logger.js';
import { byteLength } from '../store/filters.js';
import type { IdempotencyRow } from '../store/schema.js';
import { DuplicateKey, type Statement, type Store } from '../store/store.js';
import { type BodyKind, partOf } from './partial-reply.js';

export const KEPT_MS = 24 * 3600 * 1000;
const SWEPT_AT_ONCE = 200;
const CUT_AT_ONCE = 50;
const SWEEP_EVERY_MS = 5 * 60 * 1000;
const SLICE_MS = 15 * 60 * 1000;
/** Of a record without its reply, indexes included. */
const BYTES_OF_ONE = 500;

export type RecordKey = Pick<IdempotencyRow, 'tenant' | 'method' | 'path' | 'key'>;

export interface StoredReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  readonly bodyKind: BodyKind;
}

export interface IdempotencyRecordsOptions {
  readonly store: Store;
  readonly log: Logger;
  /** What all records together may take; more keys are refused until some are a day old. Default: any amount. */
  readonly maxBytes?: number;
  readonly now?: () => number;
}

export class IdempotencyRecords {
  readonly #store: Store;
  readonly #log: Logger;
  readonly #now: () => number;
  #started: Promise<void> | undefined;
  readonly #maxBytes: number;
  #sweeping: NodeJS.Timeout | undefined;
  #size = { count: 0, bytes: 0 };

  constructor({ store, log, maxBytes = Infinity, now = Date.now }: IdempotencyRecordsOptions) {
    this.#maxBytes = maxBytes;
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

  /** How many there are and what they take, as of the last look. */
  get size(): { readonly count: number; readonly bytes: number } {
    return this.#size;
  }

  get hasRoom(): boolean {
    return this.#size.bytes <= this.#maxBytes;
  }

  /** Throws TooManyIdempotencyKeys while the records take all they may. */
  requireRoom(): void {
    if (!this.hasRoom) throw new TooManyIdempotencyKeys(this.#maxBytes);
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
        body_kind: reply.bodyKind,
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

  /** Cuts some of the oldest replies down to their small members, for room in the store; false when there was none to cut.
   *  A record itself stays its day, for without it a repeat would do the work twice. */
  async cut(): Promise<boolean> {
    // The kind is written out, for the index is of these alone.
    const rows = await this.#store.query
      .selectFrom('idempotency')
      .selectAll()
      .where(sql<boolean>`body_kind = 'cuttable'`)
      .orderBy('created_at')
      .limit(CUT_AT_ONCE)
      .execute();
    if (rows.length === 0) return false;
    await this.#store.write(
      rows.map((row) => {
        const values = { body: partOf(row.body!), body_kind: 'part' };
        return this.#matching(this.#store.query.updateTable('idempotency').set(values), row);
      }),
    );
    return true;
  }

  /** Looks how many there are, and cuts replies while they take too much. */
  async measure(): Promise<void> {
    do this.#size = await this.#measured();
    while (!this.hasRoom && (await this.cut()));
  }

  /** A slice of the day at a time, so that nobody waits long for the look. */
  async #measured(): Promise<{ count: number; bytes: number }> {
    let [count, bytes] = [0, 0];
    for (let from = this.#oldest(); from <= this.#now(); from += SLICE_MS) {
      const slice = await this.#store.query
        .selectFrom('idempotency')
        .select((eb) => [
          eb.fn.countAll<number>().as('count'),
          eb.fn.coalesce(eb.fn.sum<number>(byteLength('body')), eb.lit(0)).as('bytes'),
        ])
        .where('created_at', '>=', from)
        .where('created_at', '<', from + SLICE_MS)
        .executeTakeFirstOrThrow();
      count += slice.count;
      bytes += slice.bytes;
    }
    return { count, bytes: bytes + count * BYTES_OF_ONE };
  }

  async #begin(): Promise<void> {
    // The state is written out, for the index is of these alone.
    const sql = "update idempotency set state = 'unknown' where state = 'running'";
    await this.#store.write([{ sql, parameters: [] }]);
    const sweepAndMeasure = () => this.sweep().then(() => this.measure());
    await sweepAndMeasure();
    this.#sweeping = setInterval(() => {
      sweepAndMeasure().catch((error) => this.#log.error({ err: error }, 'idempotency records not swept'));
    }, SWEEP_EVERY_MS).unref();
  }

  /** An expired record makes place for the new one in the same unit. */
  #insert(record: RecordKey, values: Pick<IdempotencyRow, 'body_hash' | 'state' | 'task'>): Statement[] {
    const { query } = this.#store;
    const row = {
      ...record,
      ...values,
      status: null,
      headers: null,
      body: null,
      body_kind: 'whole',
      created_at: this.#now(),
    };
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
