// The journal as it lies in the store, a page at a time: bounded in events and in bytes.

import { CompiledQuery, sql } from 'kysely';
import { isOver } from '../sessions/schema.js';
import type { Store } from '../store/store.js';
import type { SessionKey } from './journal.js';
import { Batch, type StoredEvent, toLine } from './line.js';
import type { EventType } from './schema.js';

/** What a reader sees: a session, or one task of it. */
export interface View {
  readonly session: SessionKey;
  readonly taskId?: string | undefined;
}

/** Where a view begins and ends at this moment. */
export interface Extent {
  readonly sessionEnded: boolean;
  /** The session's newest event. */
  readonly head: number;
  /** The view's first event, and its last if there will be no other. */
  readonly first: number;
  readonly last: number | undefined;
  /** Internal id of the view's task. */
  readonly task: string | undefined;
}

const MAX_BYTES = 512 * 1024;

export class Pages {
  readonly #query: Store['query'];
  readonly #compiled: ReturnType<typeof compileQueries>;

  constructor({ query }: Pick<Store, 'query'>) {
    this.#query = query;
    this.#compiled = compileQueries(query);
  }

  /** Undefined when the session, or the task, is no longer known. */
  async extent({ session, taskId }: View): Promise<Extent | undefined> {
    const [row] = await this.#rows(this.#compiled.extent, [taskId ?? '', session.id]);
    if (!row || (taskId !== undefined && row.task === null)) return undefined;
    const sessionEnded = isOver(row.state);
    return {
      sessionEnded,
      head: row.last_seq,
      first: row.task_first_seq ?? 1,
      last: row.task_last_seq ?? (sessionEnded ? row.last_seq : undefined),
      task: row.task ?? undefined,
    };
  }

  /** Up to where retention has removed the session's events by now. */
  async trimmed({ session }: View): Promise<number> {
    const [row] = await this.#rows(this.#compiled.trimmed, [session.id]);
    return row?.trimmed_seq ?? 0;
  }

  /** The events after `after`, at most `limit` and about half a mebibyte of them; undefined when there are none. Of the
   *  extent only what never changes is used. */
  async read(view: View, extent: Extent, after: number, limit: number): Promise<Page | undefined> {
    const { session, taskId } = view;
    const from = Math.max(after, extent.first - 1);
    const [found] =
      taskId === undefined
        ? await this.#rows(SESSION_EVENTS, boundedBy(session.id, from, limit))
        : await this.#rows(this.#compiled.taskEvents, [session.id, from, taskId, limit]);
    // In which order an aggregate puts its rows is not promised.
    const rows = (JSON.parse(found!.page) as EventColumns[]).sort(([a], [b]) => a - b);
    const { kept, hasOutput } = cut(rows);
    if (kept.length === 0) return undefined;
    const output = hasOutput ? await this.#output(view, extent, kept) : undefined;
    // Retention took the oldest between our two reads: what is left of them is read anew.
    if (kept.some(([seq, , , type]) => type === 'task.output' && !output?.has(seq))) {
      return this.read(view, extent, after, limit);
    }
    return new Page(session.sessionId, kept, output);
  }

  async #output({ session }: View, { task }: Extent, rows: readonly EventColumns[]) {
    const range = [session.id, rows[0]![0], rows.at(-1)![0]];
    const found =
      task === undefined
        ? await this.#rows(this.#compiled.sessionOutput, range)
        : await this.#rows(this.#compiled.taskOutput, [...range, task]);
    return new Map(found.map(({ seq, bytes }) => [seq, bytes]));
  }

  async #rows<R>(query: CompiledQuery<R>, parameters: readonly unknown[]): Promise<R[]> {
    return (await this.#query.executeQuery<R>({ ...query, parameters })).rows;
  }
}

/** Events as they were read. They are made into lines when asked for, so that the store can read on meanwhile. */
export class Page {
  constructor(
    private readonly sessionId: string,
    private readonly rows: readonly EventColumns[],
    private readonly output: Output | undefined,
  ) {}

  get length(): number {
    return this.rows.length;
  }

  get firstSeq(): number {
    return this.rows[0]![0];
  }

  get lastSeq(): number {
    return this.rows.at(-1)![0];
  }

  batch(): Batch {
    return new Batch(this.rows.map((row) => toLine(this.sessionId, toStored(row, this.output))));
  }
}

type Output = ReadonlyMap<number, Uint8Array>;
type EventColumns = readonly [seq: number, time: number, taskId: string | null, type: string, data: string];

/** As many of the rows as fit into a page together with their output, and one in any case. */
function cut(rows: readonly EventColumns[]): { kept: readonly EventColumns[]; hasOutput: boolean } {
  let bytes = 0;
  let hasOutput = false;
  for (const [index, [, , , type, data]] of rows.entries()) {
    const isOutput = type === 'task.output';
    bytes += data.length + (isOutput ? (JSON.parse(data) as { length: number }).length : 0);
    if (bytes > MAX_BYTES && index > 0) return { kept: rows.slice(0, index), hasOutput };
    hasOutput ||= isOutput;
  }
  return { kept: rows, hasOutput };
}

function toStored(columns: EventColumns, output: Output | undefined): StoredEvent {
  const [seq, time, taskId, , data] = columns;
  const type = columns[3] as EventType;
  return { seq, time, taskId, type, data, bytes: type === 'task.output' ? output?.get(seq) : undefined };
}

const IN_SESSION = 'from events where session = ? and seq > ? order by seq limit';

/** As `taskEvents`, but no more than MAX_BYTES: the rows that fit are counted by their sizes, which the store
 *  knows without reading them. One row is given in any case. */
const SESSION_EVENTS = CompiledQuery.raw(`
  select json_group_array(json_array(seq, time, task_id, type, data)) as page from (
    select seq, time, task_id, type, data ${IN_SESSION} (
      select case when sum(own) <= ${MAX_BYTES} then count(*) else (
        select max(1, count(*)) from (
          select sum(own) over (order by seq rows unbounded preceding) as bytes
          from (select seq, octet_length(data) as own ${IN_SESSION} ?)
        ) where bytes <= ${MAX_BYTES}
      ) end
      from (select octet_length(data) as own ${IN_SESSION} ?)
    )
  ) as event`) as CompiledQuery<{ page: string }>;

function boundedBy(session: string, from: number, limit: number): readonly unknown[] {
  return [session, from, session, from, limit, session, from, limit];
}

/** Compiled once; the values below only hold the parameters' places. */
function compileQueries(query: Store['query']) {
  const events = query
    .selectFrom('events')
    .select(['seq', 'time', 'task_id', 'type', 'data'])
    .where('session', '=', '')
    .where('seq', '>', 0)
    .orderBy('seq');
  // A page is one value: what it takes to hand over a row, a column and a thread at a time is more than SQLite's own work.
  const page = (found: typeof events) =>
    query
      .selectFrom(found.limit(1).as('event'))
      .select(sql<string>`json_group_array(json_array(seq, time, task_id, type, data))`.as('page'))
      .compile();
  const output = query
    .selectFrom('output')
    .select(['seq', 'bytes'])
    .where('session', '=', '')
    .where('seq', '>=', 0)
    .where('seq', '<=', 0);
  return {
    extent: query
      .selectFrom('sessions')
      .leftJoin('tasks', (join) =>
        join
          .onRef('tasks.tenant', '=', 'sessions.tenant')
          .onRef('tasks.session', '=', 'sessions.id')
          .on('tasks.task_id', '=', ''),
      )
      .select([
        'sessions.state',
        'sessions.last_seq',
        'tasks.id as task',
        'tasks.first_seq as task_first_seq',
        'tasks.last_seq as task_last_seq',
      ])
      .where('sessions.id', '=', '')
      .compile(),
    trimmed: query.selectFrom('sessions').select('trimmed_seq').where('id', '=', '').compile(),
    // Of a task only the last event may be large, so that its pages need no bound in bytes.
    taskEvents: page(events.where('task_id', '=', '')),
    sessionOutput: output.compile(),
    taskOutput: output.where('task', '=', '').compile(),
  };
}
