// Removes a session's oldest events, a slice at a time, so that no commit of anybody waits long for a deletion. A slice
// is one unit: events, output and the mark that tells readers of the gap go together.
import { byteLength } from '../store/filters.js';
import type { EventRow } from '../store/schema.js';
import type { Store } from '../store/store.js';
import { storedBytes } from './journal.js';

/** A slice deletes in a few milliseconds. */
const SLICE_EVENTS = 200;
const SLICE_BYTES = 1024 * 1024;

export interface TrimOptions {
  /** The last event that may go. */
  readonly upTo: number;
  /** Only events of before this time, as far as they are the oldest; epoch milliseconds. */
  readonly before?: number;
  /** No more than is needed for so many bytes to go. */
  readonly bytes?: number;
}

export interface Trimmed {
  /** How many events went. */
  readonly events: number;
  /** About how many bytes are still kept of the session. */
  readonly sessionBytes: number;
}

type Candidate = Pick<EventRow, 'seq' | 'time' | 'type' | 'data'>;

export class Trimmer {
  readonly #store: Pick<Store, 'query' | 'write'>;

  constructor(store: Pick<Store, 'query' | 'write'>) {
    this.#store = store;
  }

  /** The last event that may be removed of a session that lives on: a task that has not ended keeps its events. */
  async removableUpTo(session: { readonly id: string; readonly last_seq: number }): Promise<number> {
    const { first } = await this.#store.query
      .selectFrom('tasks')
      .select((eb) => eb.fn.min<number | null>('first_seq').as('first'))
      .where('session', '=', session.id)
      .where('ended_at', 'is', null)
      .executeTakeFirstOrThrow();
    return first === null ? session.last_seq : first - 1;
  }

  /** Removes one slice; undefined when nothing is left to remove. */
  async trim(session: string, { upTo, before, bytes }: TrimOptions): Promise<Trimmed | undefined> {
    const { query } = this.#store;
    const oldest = await query
      .selectFrom('events')
      .select(['seq', 'time', 'type', 'data'])
      .where('session', '=', session)
      .where('seq', '<=', upTo)
      .orderBy('seq')
      .limit(SLICE_EVENTS)
      .execute();
    const slice = cut(oldest, { before, maxBytes: Math.min(bytes ?? SLICE_BYTES, SLICE_BYTES) });
    const first = slice.rows[0];
    const last = slice.rows.at(-1);
    if (!first || !last) return undefined;
    const outputs = await this.#outputsOfTasksThatEnded(session, first.seq, last.seq);
    const [marked] = await this.#store.write([
      query
        .updateTable('sessions')
        .set((eb) => ({
          trimmed_seq: last.seq,
          stored_bytes: eb('stored_bytes', '-', slice.bytes + outputs.bytes),
        }))
        .where('id', '=', session)
        .returning('stored_bytes')
        .compile(),
      query.deleteFrom('output').where('session', '=', session).where('seq', '<=', last.seq).compile(),
      query.deleteFrom('events').where('session', '=', session).where('seq', '<=', last.seq).compile(),
      ...outputs.tasks.map((id) =>
        query.updateTable('tasks').set({ outputs: null }).where('id', '=', id).compile(),
      ),
    ]);
    return { events: slice.rows.length, sessionBytes: (marked?.rows[0]?.stored_bytes ?? 0) as number };
  }

  /** The outputs that a task's record holds go with its `task.ended`. */
  async #outputsOfTasksThatEnded(session: string, from: number, to: number) {
    const found = await this.#store.query
      .selectFrom('tasks')
      .select(['id', byteLength('outputs').as('size')])
      .where('session', '=', session)
      .where('last_seq', '>=', from)
      .where('last_seq', '<=', to)
      .where('outputs', 'is not', null)
      .execute();
    return { tasks: found.map(({ id }) => id), bytes: found.reduce((sum, { size }) => sum + size, 0) };
  }
}

/** As many of the rows as one slice takes, and what they take in the store. */
function cut(
  oldest: readonly Candidate[],
  { before = Number.POSITIVE_INFINITY, maxBytes }: { before: number | undefined; maxBytes: number },
) {
  const rows: Candidate[] = [];
  let bytes = 0;
  for (const row of oldest) {
    if (row.time >= before || bytes >= maxBytes) break;
    const output = row.type === 'task.output' ? (JSON.parse(row.data) as { length: number }).length : 0;
    bytes += storedBytes(Buffer.byteLength(row.data), output);
    rows.push(row);
  }
  return { rows, bytes };
}
