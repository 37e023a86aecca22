// Events are numbered and stored in one transaction, together with the change of state they tell of, and only then
// seen by anybody: a reader can resume from any number it was given.

import { sql } from 'kysely';
import { StoreUnavailable } from '../errors.js';
import type { Logger } from '../observability/logger.js';
import type { Statement, Store } from '../store/store.js';
import type { StoredEvent } from './line.js';
import type { NewEvent } from './schema.js';
import { Tails } from './tail.js';

export interface JournalOptions {
  readonly store: Pick<Store, 'query' | 'write'>;
  readonly log: Pick<Logger, 'error'>;
  /** Epoch milliseconds. */
  readonly now?: () => number;
  readonly onStored?: (stored: Stored) => void;
}

/** A session by both its names: the store's, and the client's. */
export interface SessionKey {
  readonly id: string;
  readonly sessionId: string;
}

/** What an append has stored. */
export interface Stored {
  readonly session: SessionKey;
  /** How many events. */
  readonly count: number;
  /** About how many bytes all that is kept of the session takes. */
  readonly sessionBytes: number;
}

/** Statements of the same transaction: `before` the numbering, and `after` the events, where last_seq is the new one. */
export interface WithEvents {
  readonly before?: readonly Statement[];
  readonly after?: readonly Statement[];
  /** How much these statements keep for as long as the events. */
  readonly bytes?: number;
}

/** What a row and its index entries take besides data and output, measured. */
const ROW_BYTES = 300;

/** About what an event takes in the store; what an append adds, retention takes away. */
export function storedBytes(dataBytes: number, outputBytes: number): number {
  return ROW_BYTES + dataBytes + outputBytes;
}

export class Journal {
  /** Where readers wait for what comes next. */
  readonly tails = new Tails();
  readonly #store: JournalOptions['store'];
  readonly #log: JournalOptions['log'];
  readonly #now: () => number;
  readonly #onStored: (stored: Stored) => void;
  readonly #sql: ReturnType<typeof compileStatements>;

  constructor({ store, log, now = Date.now, onStored = () => {} }: JournalOptions) {
    this.#store = store;
    this.#log = log;
    this.#now = now;
    this.#onStored = onStored;
    this.#sql = compileStatements(store);
  }

  /** Resolves with the events' numbers once they are on disk; calls are numbered in their order. Rejects as
   *  `Store.write` does, with UnitRejected('session') when the session's record is gone. */
  async append(
    session: SessionKey,
    events: readonly NewEvent[],
    { before = [], after = [], bytes = 0 }: WithEvents = {},
  ): Promise<readonly number[]> {
    if (events.length === 0) throw new Error('nothing to append');
    const time = this.#now();
    const rows = events.map(toRow);
    const statements: Statement[] = [
      ...before,
      {
        sql: this.#sql.advance,
        parameters: [events.length, bytes + bytesOf(rows), session.id],
        mustChange: 'session',
      },
    ];
    for (const [index, { taskId, type, data, output }] of rows.entries()) {
      const fromLast = events.length - 1 - index;
      statements.push({
        sql: this.#sql.insertEvent,
        parameters: [fromLast, time, taskId, type, data, session.id],
      });
      if (output) {
        const { task, stream, offset, bytes } = output;
        statements.push({
          sql: this.#sql.insertOutput,
          parameters: [fromLast, task, stream, offset, bytes, session.id],
        });
      }
    }
    statements.push(...after);

    const results = await this.#store.write(statements).catch((error: unknown) => {
      // Perhaps it is stored, and nobody will publish it.
      if (error instanceof StoreUnavailable) this.tails.doubt(session.id);
      throw error;
    });
    const advanced = results[before.length]!.row as { last_seq: number; stored_bytes: number };
    const firstSeq = advanced.last_seq - events.length + 1;
    this.#onStored({ session, count: events.length, sessionBytes: advanced.stored_bytes });
    this.#publish(
      session,
      rows.map(({ output, ...row }, index) => ({
        ...row,
        seq: firstSeq + index,
        time,
        bytes: output?.bytes,
      })),
    );
    return rows.map((_, index) => firstSeq + index);
  }

  /** What is stored is stored: a fault in telling readers must not look like a failed append. */
  #publish(session: SessionKey, events: readonly StoredEvent[]): void {
    try {
      this.tails.publish(session, events);
    } catch (err) {
      this.#log.error({ err, sessionId: session.sessionId }, 'events were stored but not published');
    }
  }
}

interface Row extends Omit<StoredEvent, 'seq' | 'time' | 'bytes'> {
  readonly output?: { task: string; stream: string; offset: number; bytes: Uint8Array };
}

function bytesOf(rows: readonly Row[]): number {
  return rows.reduce(
    (sum, { data, output }) => sum + storedBytes(Buffer.byteLength(data), output?.bytes.byteLength ?? 0),
    0,
  );
}

function toRow(event: NewEvent): Row {
  const { type } = event;
  if (type !== 'task.output') {
    return { taskId: 'taskId' in event ? event.taskId : null, type, data: JSON.stringify(event.data) };
  }
  const { taskId, task, bytes } = event;
  const { stream, offset } = event.data;
  const data = JSON.stringify({ stream, offset, length: bytes.byteLength });
  return { taskId, type, data, output: { task, stream, offset, bytes } };
}

/** Compiled once; the numbers and empty texts below only hold the parameters' places, in the order `append` fills. */
function compileStatements({ query }: JournalOptions['store']) {
  const seq = sql<number>`last_seq - ${0}`.as('seq');
  const text = (name: string) => sql<string>`${''}`.as(name);
  const advance = query
    .updateTable('sessions')
    .set({ last_seq: sql<number>`last_seq + ${0}`, stored_bytes: sql<number>`stored_bytes + ${0}` })
    .where('id', '=', '')
    .returning(['last_seq', 'stored_bytes']);
  const insertEvent = query
    .insertInto('events')
    .columns(['session', 'seq', 'time', 'task_id', 'type', 'data'])
    .expression((eb) =>
      eb
        .selectFrom('sessions')
        .select(['id', seq, sql<number>`${0}`.as('time'), text('task_id'), text('type'), text('data')])
        .where('id', '=', ''),
    );
  const insertOutput = query
    .insertInto('output')
    .columns(['session', 'seq', 'task', 'stream', 'offset', 'bytes'])
    .expression((eb) =>
      eb
        .selectFrom('sessions')
        .select(['id', seq, text('task'), text('stream'), sql<number>`${0}`.as('offset'), text('bytes')])
        .where('id', '=', ''),
    );
  return {
    advance: advance.compile().sql,
    insertEvent: insertEvent.compile().sql,
    insertOutput: insertOutput.compile().sql,
  };
}
