// How tasks are kept. The statements of the hot path are written out once; lists are built as asked.
import type { OutputStream } from '../events/schema.js';
import { byteLength, byteLengths, metadataValue, olderThan } from '../store/filters.js';
import { type Page, readPage } from '../store/page.js';
import type { TaskRow } from '../store/schema.js';
import type { Statement, Store } from '../store/store.js';
import { SHOWN_STREAM_BYTES } from './outputs.js';

/** The `mustChange` label of an insert that found its session over. */
export const SESSION_OPEN = 'open session';

export interface TaskFilter {
  readonly session: string;
  readonly status?: readonly string[];
  readonly tool?: readonly string[];
  readonly metadata: readonly { readonly key: string; readonly value: string }[];
  readonly createdAfter?: number;
  readonly before?: { readonly createdAt: number; readonly id: string };
  readonly limit: number;
}

/** What the start of a task changes on its row. */
export interface TaskStart {
  readonly id: string;
  readonly startedAt: number;
  readonly queueMs: number;
}

/** What the end of a task changes on its row. */
export type TaskEnd = Pick<
  TaskRow,
  'status' | 'ending' | 'outputs' | 'usage' | 'ended_at' | 'duration_ms' | 'stdout_bytes' | 'stderr_bytes'
>;

const LISTED = [
  'id',
  'tenant',
  'task_id',
  'session',
  'tool',
  'arguments',
  'body_hash',
  'constraints',
  'background',
  'metadata',
  'status',
  'ending',
  'usage',
  'created_at',
  'started_at',
  'ended_at',
  'queue_ms',
  'duration_ms',
  'stdout_bytes',
  'stderr_bytes',
  'first_seq',
  'last_seq',
] as const;

export class TaskRepository {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  find(tenant: string, taskId: string): Promise<TaskRow | undefined> {
    return this.#store.query
      .selectFrom('tasks')
      .selectAll()
      .where('tenant', '=', tenant)
      .where('task_id', '=', taskId)
      .executeTakeFirst();
  }

  /** About the bytes that a task shows, without reading them; 0 when there is no such task. */
  async shownBytes(tenant: string, taskId: string): Promise<number> {
    const found = await this.#store.query
      .selectFrom('tasks')
      .select([byteLength('outputs').as('outputs'), 'stdout_bytes', 'stderr_bytes'])
      .where('tenant', '=', tenant)
      .where('task_id', '=', taskId)
      .executeTakeFirst();
    if (!found) return 0;
    const streams = [found.stdout_bytes, found.stderr_bytes].map((bytes) =>
      Math.min(bytes, SHOWN_STREAM_BYTES),
    );
    return (found.outputs ?? 0) + streams[0]! + streams[1]!;
  }

  /** Newest first, without outputs. */
  async list(filter: TaskFilter): Promise<Page<TaskRow>> {
    const { query: store } = this.#store;
    const bytes = byteLengths('arguments', 'metadata', 'constraints', 'ending', 'usage').as('bytes');
    let query = store
      .selectFrom('tasks')
      .select(['id', 'created_at', bytes])
      .where('session', '=', filter.session);
    if (filter.status) query = query.where('status', 'in', filter.status);
    if (filter.tool) query = query.where('tool', 'in', filter.tool);
    if (filter.createdAfter !== undefined) query = query.where('created_at', '>', filter.createdAfter);
    for (const { key, value } of filter.metadata) query = query.where(metadataValue(key), '=', value);
    if (filter.before) query = query.where(olderThan(filter.before));
    const sizes = await query
      .orderBy('created_at', 'desc')
      .orderBy('id', 'desc')
      .limit(filter.limit)
      .execute();
    return readPage(sizes, filter.limit, async (ids) => {
      const rows = await store.selectFrom('tasks').select(LISTED).where('id', 'in', ids).execute();
      return rows.map((row) => ({ ...row, outputs: null }));
    });
  }

  /** Tasks that had not ended when the service last ran, in the order in which they came. */
  /** Of all sessions, or of one; in the order in which they came. */
  unfinished(session?: string): Promise<TaskRow[]> {
    return this.#store.query
      .selectFrom('tasks')
      .selectAll()
      .where('ended_at', 'is', null)
      .$if(session !== undefined, (query) => query.where('session', '=', session!))
      .orderBy('created_at')
      .orderBy('id')
      .execute();
  }

  /** Bytes stored of a stream, by its last piece: retention may have removed the first. */
  async storedBytes(task: string, stream: OutputStream): Promise<number> {
    const last = await this.#store.query
      .selectFrom('output')
      .select((eb) => ['offset', eb.fn<number>('length', ['bytes']).as('length')])
      .where('task', '=', task)
      .where('stream', '=', stream)
      .orderBy('offset', 'desc')
      .limit(1)
      .executeTakeFirst();
    return last ? last.offset + last.length : 0;
  }

  /** Where the first stored piece of a stream begins; undefined when there is none. */
  async firstStored(task: string, stream: OutputStream): Promise<number | undefined> {
    const first = await this.#store.query
      .selectFrom('output')
      .select('offset')
      .where('task', '=', task)
      .where('stream', '=', stream)
      .orderBy('offset')
      .limit(1)
      .executeTakeFirst();
    return first?.offset;
  }

  /** The pieces of a stream from the one that holds the byte `start` up to `end` (exclusive), in order, a bounded
   *  number. */
  outputPieces(task: string, stream: OutputStream, start: number, end: number, limit: number) {
    const { fn } = this.#store.query;
    return this.#store.query
      .selectFrom('output')
      .select(['offset', 'bytes'])
      .where('task', '=', task)
      .where('stream', '=', stream)
      .where('offset', '>=', (at) =>
        at
          .selectFrom('output')
          .select(fn.coalesce(fn.max<number>('offset'), at.lit(0)).as('first'))
          .where('task', '=', task)
          .where('stream', '=', stream)
          .where('offset', '<=', start),
      )
      .where('offset', '<', end)
      .orderBy('offset')
      .limit(limit)
      .execute();
  }

  /** Inserts the task with the number of the event that was just stored for it; refused when its session is over. */
  insert(row: Omit<TaskRow, 'first_seq'>): Statement {
    return {
      sql: `insert into tasks (id, tenant, task_id, session, tool, arguments, body_hash, constraints, background, metadata,
 status, created_at, stdout_bytes, stderr_bytes, first_seq)
 select ?, ?, ?, id, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, last_seq from sessions
 where id = ? and state in ('ready', 'active', 'checkpointing')`,
      parameters: [
        row.id,
        row.tenant,
        row.task_id,
        row.tool,
        row.arguments,
        row.body_hash,
        row.constraints,
        row.background,
        row.metadata,
        row.status,
        row.created_at,
        row.session,
      ],
      mustChange: SESSION_OPEN,
    };
  }

  start(start: TaskStart): Statement {
    return {
      sql: "update tasks set status = 'running', started_at = ?, queue_ms = ? where id = ? and status = 'queued'",
      parameters: [start.startedAt, start.queueMs, start.id],
      mustChange: 'queued task',
    };
  }

  /** `eventsAfter` events of the same unit come after task.ended. */
  end(
    { id, session }: Pick<TaskRow, 'id' | 'session'>,
    end: TaskEnd,
    { eventsAfter }: { eventsAfter: number },
  ): Statement {
    return {
      sql: `update tasks set status = ?, ending = ?, outputs = ?, usage = ?, ended_at = ?, duration_ms = ?,
 stdout_bytes = ?, stderr_bytes = ?, last_seq = (select last_seq - ? from sessions where id = ?)
 where id = ? and status in ('queued', 'running')`,
      parameters: [
        end.status,
        end.ending,
        end.outputs,
        end.usage,
        end.ended_at,
        end.duration_ms,
        end.stdout_bytes,
        end.stderr_bytes,
        eventsAfter,
        session,
        id,
      ],
      mustChange: 'unfinished task',
    };
  }
}
