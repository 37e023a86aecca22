// How sessions are kept. Reads answer rows; writes are statements, so that a change and its events are one unit.
import { metadataValue, olderThan } from '../store/filters.js';
import type { SessionRow } from '../store/schema.js';
import type { Statement, Store } from '../store/store.js';

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

  /** Newest first. */
  list(filter: SessionFilter): Promise<SessionRow[]> {
    let query = this.#store.query.selectFrom('sessions').selectAll().where('tenant', '=', filter.tenant);
    if (filter.state) query = query.where('state', 'in', filter.state);
    if (filter.createdAfter !== undefined) query = query.where('created_at', '>', filter.createdAfter);
    for (const { key, value } of filter.metadata) {
      query = query.where(metadataValue(key), '=', value);
    }
    if (filter.before) query = query.where(olderThan(filter.before));
    return query.orderBy('created_at', 'desc').orderBy('id', 'desc').limit(filter.limit).execute();
  }

  /** Sessions that held a slot when the service last ran, oldest first. */
  unfinished(): Promise<SessionRow[]> {
    return this.#store.query
      .selectFrom('sessions')
      .selectAll()
      .where('state', 'not in', ['terminated', 'failed'])
      .orderBy('created_at')
      .orderBy('id')
      .execute();
  }

  /** Sessions that ended before this time, a bounded number. */
  endedBefore(time: number, limit: number): Promise<Pick<SessionRow, 'id'>[]> {
    return this.#store.query
      .selectFrom('sessions')
      .select('id')
      .where('state', 'in', ['terminated', 'failed'])
      .where('ended_at', '<', time)
      .limit(limit)
      .execute();
  }

  insert(row: SessionRow): Statement {
    return this.#store.query.insertInto('sessions').values(row).compile();
  }

  update(id: string, changes: Partial<SessionRow>): Statement {
    return this.#store.query.updateTable('sessions').set(changes).where('id', '=', id).compile();
  }

  /** Removes the session and all that was kept of it but its checkpoints. */
  forget(id: string): Statement[] {
    const { query } = this.#store;
    return [
      query.deleteFrom('output').where('session', '=', id).compile(),
      query.deleteFrom('events').where('session', '=', id).compile(),
      query.deleteFrom('tasks').where('session', '=', id).compile(),
      query.deleteFrom('sessions').where('id', '=', id).compile(),
    ];
  }

  async write(statements: readonly Statement[]): Promise<void> {
    await this.#store.write(statements);
  }
}
