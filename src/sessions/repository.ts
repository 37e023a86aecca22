// How sessions are kept. Reads answer rows; writes are statements, so that a change and its events are one unit.
import { byteLength, byteLengths, metadataValue, olderThan } from '../store/filters.js';
import { type Page, readPage } from '../store/page.js';
import type { SessionRow } from '../store/schema.js';
import type { Statement, Store } from '../store/store.js';
import { isOver } from './schema.js';

/** How much is forgotten in one unit. The arguments of one task may take several MiB. */
const FORGET_TASKS = 20;
const FORGET_BYTES = 1024 * 1024;

export type KeptSession = Pick<SessionRow, 'id' | 'session_id' | 'last_seq' | 'trimmed_seq' | 'stored_bytes'>;

export interface SessionFilter {
  readonly tenant: string;
  readonly state?: readonly string[];
  readonly metadata: readonly { readonly key: string; readonly value: string }[];
  readonly createdAfter?: number;
  /** The last session of the page before. */
  readonly before?: { readonly createdAt: number; readonly id: string };
  readonly limit: number;
}

export class SessionRepository {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  find(tenant: string, sessionId: string): Promise<SessionRow | undefined> {
    return this.#store.query
      .selectFrom('sessions')
      .selectAll()
      .where('tenant', '=', tenant)
      .where('session_id', '=', sessionId)
      .executeTakeFirst();
  }

  byId(id: string): Promise<SessionRow | undefined> {
    return this.#store.query.selectFrom('sessions').selectAll().where('id', '=', id).executeTakeFirst();
  }

  /** Whether the end that was begun has its checkpoint: while a session ends its state does not change any more, so that
   *  the newest of these events tells. */
  async hasEndCheckpoint(id: string, name: string): Promise<boolean> {
    const newest = await this.#store.query
      .selectFrom('events')
      .select(['type', 'data'])
      .where('session', '=', id)
      .where('type', 'in', ['session.state', 'checkpoint.created'])
      .orderBy('seq', 'desc')
      .limit(1)
      .executeTakeFirst();
    return newest?.type === 'checkpoint.created' && JSON.parse(newest.data).name === name;
  }

  /** Newest first. */
  async list({ state, ...filter }: SessionFilter): Promise<Page<SessionRow>> {
    return readPage(await this.#sizes(state, filter), filter.limit, (ids) =>
      this.#store.query.selectFrom('sessions').selectAll().where('id', 'in', ids).execute(),
    );
  }

  async #sizes(state: SessionFilter['state'], filter: Omit<SessionFilter, 'state'>) {
    if (!state) return this.#page(filter).execute();
    // Each in the order of an index: those that live have one together, those that are over one by state.
    const living = state.filter((each) => !isOver(each));
    const queries = [...new Set(state.filter(isOver))].map((over) =>
      this.#page(filter).where('ended_at', 'is not', null).where('state', '=', over),
    );
    if (living.length > 0)
      queries.unshift(this.#page(filter).where('ended_at', 'is', null).where('state', 'in', living));
    const pages = await Promise.all(queries.map((query) => query.execute()));
    // Those that live are read first: one that ends meanwhile is found twice, and never not at all.
    const found = new Map(pages.flat().map((row) => [row.id, row]));
    return [...found.values()].sort(newestFirst).slice(0, filter.limit);
  }

  #page(filter: Omit<SessionFilter, 'state'>) {
    const bytes = byteLengths('env', 'metadata', 'network', 'limits').as('bytes');
    let query = this.#store.query
      .selectFrom('sessions')
      .select(['id', 'created_at', bytes])
      .where('tenant', '=', filter.tenant);
    if (filter.createdAfter !== undefined) query = query.where('created_at', '>', filter.createdAfter);
    for (const { key, value } of filter.metadata) {
      query = query.where(metadataValue(key), '=', value);
    }
    if (filter.before) query = query.where(olderThan(filter.before));
    return query.orderBy('created_at', 'desc').orderBy('id', 'desc').limit(filter.limit);
  }

  /** Sessions that held a slot when the service last ran, oldest first. */
  unfinished(): Promise<SessionRow[]> {
    return this.#store.query
      .selectFrom('sessions')
      .selectAll()
      .where('ended_at', 'is', null)
      .orderBy('created_at')
      .orderBy('id')
      .execute();
  }

  /** Sessions that are over, those that ended first before the others, a bounded number. */
  ended(limit: number, before = Number.MAX_SAFE_INTEGER): Promise<Pick<SessionRow, 'id' | 'last_seq'>[]> {
    return this.#store.query
      .selectFrom('sessions')
      .select(['id', 'last_seq'])
      .where('ended_at', '<', before)
      .orderBy('ended_at')
      .limit(limit)
      .execute();
  }

  /** How much is kept of each session that is not over. */
  kept(): Promise<KeptSession[]> {
    return this.#store.query
      .selectFrom('sessions')
      .select(['id', 'session_id', 'last_seq', 'trimmed_seq', 'stored_bytes'])
      .where('ended_at', 'is', null)
      .execute();
  }

  insert(row: SessionRow): Statement {
    return this.#store.query.insertInto('sessions').values(row).compile();
  }

  /** The end of a session; from now on its checkpoints are kept only for their time. */
  end(id: string, state: 'terminated' | 'failed', reason: string, now: number): Statement[] {
    const { query } = this.#store;
    return [
      this.update(id, { state, state_reason: reason, ended_at: now }),
      query.updateTable('checkpoints').set({ last_used_at: now }).where('session', '=', id).compile(),
    ];
  }

  update(id: string, changes: Partial<SessionRow>): Statement {
    return this.#store.query.updateTable('sessions').set(changes).where('id', '=', id).compile();
  }

  /** Removes some of the tasks of a session that is to be forgotten, as many as others hardly wait for; false when
   *  none was left. */
  async forgetTasks(session: string): Promise<boolean> {
    const { query } = this.#store;
    const some = await query
      .selectFrom('tasks')
      .select(['id', byteLength('arguments').as('bytes')])
      .where('session', '=', session)
      .limit(FORGET_TASKS)
      .execute();
    let bytes = 0;
    const few = some.filter((task) => {
      const fits = bytes < FORGET_BYTES;
      bytes += task.bytes;
      return fits;
    });
    if (few.length === 0) return false;
    const ids = few.map(({ id }) => id);
    await this.write([query.deleteFrom('tasks').where('id', 'in', ids).compile()]);
    return true;
  }

  /** Removes the record of a session of which nothing else is left but its checkpoints. */
  async forget(id: string): Promise<void> {
    await this.write([this.#store.query.deleteFrom('sessions').where('id', '=', id).compile()]);
  }

  async write(statements: readonly Statement[]): Promise<void> {
    await this.#store.write(statements);
  }
}

type Sorted = Pick<SessionRow, 'created_at' | 'id'>;

function newestFirst(a: Sorted, b: Sorted): number {
  return b.created_at - a.created_at || (a.id < b.id ? 1 : -1);
}
