// How checkpoints are kept: a row each, beside the archive on disk.
import { byteLengths, olderThan } from '../store/filters.js';
import { type Page, readPage } from '../store/page.js';
import type { CheckpointRow } from '../store/schema.js';
import type { Statement, Store } from '../store/store.js';

export interface CheckpointFilter {
  readonly tenant: string;
  /** Public id of the session, whose record may be gone. Default: of all. */
  readonly sessionId?: string;
  readonly createdAfter?: number;
  readonly before?: { readonly createdAt: number; readonly id: string };
  readonly limit: number;
}

export type UnusedCheckpoint = Pick<CheckpointRow, 'id' | 'size_bytes'>;

export class CheckpointRepository {
  readonly #store: Pick<Store, 'query' | 'write'>;

  constructor(store: Pick<Store, 'query' | 'write'>) {
    this.#store = store;
  }

  find(tenant: string, id: string): Promise<CheckpointRow | undefined> {
    return this.#store.query
      .selectFrom('checkpoints')
      .selectAll()
      .where('tenant', '=', tenant)
      .where('id', '=', id)
      .executeTakeFirst();
  }

  /** Of whatever tenant. */
  async exists(id: string): Promise<boolean> {
    const found = await this.#store.query
      .selectFrom('checkpoints')
      .select('id')
      .where('id', '=', id)
      .executeTakeFirst();
    return found !== undefined;
  }

  /** Newest first. */
  async list(filter: CheckpointFilter): Promise<Page<CheckpointRow>> {
    const { query: store } = this.#store;
    let query = store
      .selectFrom('checkpoints')
      .select(['id', 'created_at', byteLengths('details', 'name').as('bytes')])
      .where('tenant', '=', filter.tenant);
    if (filter.sessionId !== undefined) query = query.where('session_id', '=', filter.sessionId);
    if (filter.createdAfter !== undefined) query = query.where('created_at', '>', filter.createdAfter);
    if (filter.before) query = query.where(olderThan(filter.before));
    const sizes = await query
      .orderBy('created_at', 'desc')
      .orderBy('id', 'desc')
      .limit(filter.limit)
      .execute();
    return readPage(sizes, filter.limit, (ids) =>
      store.selectFrom('checkpoints').selectAll().where('id', 'in', ids).execute(),
    );
  }

  /** Ids of a session's checkpoints by its internal id, newest first. */
  async idsOf(session: string): Promise<string[]> {
    const rows = await this.#store.query
      .selectFrom('checkpoints')
      .select('id')
      .where('session', '=', session)
      .orderBy('created_at', 'desc')
      .orderBy('id', 'desc')
      .execute();
    return rows.map(({ id }) => id);
  }

  /** Of sessions that are over, those that were of no use for the longest time first. */
  async unused(limit: number, before = Number.MAX_SAFE_INTEGER): Promise<UnusedCheckpoint[]> {
    return this.#ofEndedSessions()
      .select(['id', 'size_bytes'])
      .where('last_used_at', '<', before)
      .orderBy('last_used_at')
      .limit(limit)
      .execute();
  }

  /** How many there are of sessions that are over, and what their archives take. Reads an index only. */
  async unusedSize(): Promise<{ count: number; bytes: number }> {
    return this.#ofEndedSessions()
      .select((eb) => [
        eb.fn.countAll<number>().as('count'),
        eb.fn.coalesce(eb.fn.sum<number>('size_bytes'), eb.lit(0)).as('bytes'),
      ])
      .where('last_used_at', '>=', 0)
      .executeTakeFirstOrThrow();
  }

  #ofEndedSessions() {
    return this.#store.query
      .selectFrom('checkpoints')
      .where('session', 'not in', (eb) =>
        eb.selectFrom('sessions').select('sessions.id').where('ended_at', 'is', null),
      );
  }

  async use(id: string, now: number): Promise<void> {
    const { query } = this.#store;
    const statement = query.updateTable('checkpoints').set({ last_used_at: now }).where('id', '=', id);
    await this.#store.write([statement.compile()]);
  }

  /** Stores the row and makes it the session's last. */
  insert(row: CheckpointRow): Statement[] {
    const { query } = this.#store;
    return [
      query.insertInto('checkpoints').values(row).compile(),
      query
        .updateTable('sessions')
        .set({ last_checkpoint_id: row.id })
        .where('id', '=', row.session)
        .compile(),
    ];
  }

  async remove(id: string): Promise<void> {
    await this.#store.write([this.#store.query.deleteFrom('checkpoints').where('id', '=', id).compile()]);
  }
}
