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

/** `id` is the internal one of the task. */
type OutputsBySeq = ReadonlyMap<number, { readonly id: string; readonly bytes: number }>;

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
    const outputs = await this.#outputsOfTasksThatEnded(session, oldest);
    const slice = cut(oldest, outputs, { before, maxBytes: Math.min(bytes ?? SLICE_BYTES, SLICE_BYTES) });
    const last = slice.rows.at(-1);
    if (!last) return undefined;
    const [marked] = await this.#store.write([
      query
        .updateTable('sessions')
        .set((eb) => ({
          trimmed_seq: last.seq,
          stored_bytes: eb('stored_bytes', '-', slice.bytes),
        }))
        .where('id', '=', session)
        .returning('stored_bytes')
        .compile(),
      query.deleteFrom('output').where('session', '=', session).where('seq', '<=', last.seq).compile(),
      query.deleteFrom('events').where('session', '=', session).where('seq', '<=', last.seq).compile(),
      ...slice.rows
        .flatMap(({ seq }) => outputs.get(seq) ?? [])
        .map(({ id }) => query.updateTable('tasks').set({ outputs: null }).where('id', '=', id).compile()),
    ]);
    return { events: slice.rows.length, sessionBytes: (marked?.row?.stored_bytes ?? 0) as number };
  }

  /** The outputs that a task's record holds go with its `task.ended`: by the number of that event. */
  async #outputsOfTasksThatEnded(session: string, events: readonly Candidate[]): Promise<OutputsBySeq> {
    const found = await this.#store.query
      .selectFrom('tasks')
      .select(['id', 'last_seq', byteLength('outputs').as('bytes')])
      .where('session', '=', session)
      .where('last_seq', '>=', events[0]?.seq ?? 0)
      .where('last_seq', '<=', events.at(-1)?.seq ?? 0)
      .where('outputs', 'is not', null)
      .execute();
    return new Map(found.map(({ id, last_seq, bytes }) => [last_seq!, { id, bytes }]));
  }
}

/** As many of the rows as one slice takes, and what they take in the store. */
function cut(
  oldest: readonly Candidate[],
  outputs: OutputsBySeq,
  { before = Number.POSITIVE_INFINITY, maxBytes }: { before: number | undefined; maxBytes: number },
) {
  const rows: Candidate[] = [];
  let bytes = 0;
  for (const row of oldest) {
    if (row.time >= before || bytes >= maxBytes) break;
    const output = row.type === 'task.output' ? (JSON.parse(row.data) as { length: number }).length : 0;
    bytes += storedBytes(Buffer.byteLength(row.data), output) + (outputs.get(row.seq)?.bytes ?? 0);
    rows.push(row);
  }
  return { rows, bytes };
}
