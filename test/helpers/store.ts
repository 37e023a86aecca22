// A real store in a directory of its own, and rows to put into it.
import { pino } from 'pino';
import type { Test } from 'tap';
import { Journal } from '../../src/events/journal.js';
import { Reader, type ReaderStep } from '../../src/events/reader.js';
import type { NewEvent } from '../../src/events/schema.js';
import { newId } from '../../src/lib/ids.js';
import type { SessionRow, TaskRow } from '../../src/store/schema.js';
import { SqliteStore } from '../../src/store/sqlite.js';

export const silent = pino({ level: 'silent' });

export async function openStore(t: Test, directory = t.testdir()): Promise<SqliteStore> {
  const store = new SqliteStore({ directory });
  t.teardown(() => store.close());
  await store.start();
  return store;
}

/** A store with a journal and a reader on it. */
export async function openJournal(t: Test) {
  const store = await openStore(t);
  const journal = new Journal({ store, log: silent });
  return { store, journal, reader: new Reader({ store, journal }) };
}

export function sessionRow(values: Partial<SessionRow> = {}): SessionRow {
  const id = newId('ses');
  return {
    id,
    tenant: 'default',
    session_id: id,
    workspace_id: null,
    user_id: null,
    language: 'python',
    state: 'ready',
    state_reason: null,
    env: '{}',
    metadata: '{}',
    limits: '{}',
    concurrency: 1,
    network: '{"mode":"none"}',
    isolation: null,
    sandbox_uid: null,
    created_at: Date.now(),
    last_active_at: Date.now(),
    ended_at: null,
    idle_timeout_seconds: null,
    max_lifetime_seconds: null,
    checkpoint_on_expiry: 1,
    last_seq: 0,
    trimmed_seq: 0,
    stored_bytes: 0,
    end_checkpoint: null,
    last_checkpoint_id: null,
    restored_from: null,
    ...values,
  };
}

export function taskRow(session: SessionRow, values: Partial<TaskRow> = {}): TaskRow {
  const id = newId('tsk');
  return {
    id,
    tenant: session.tenant,
    task_id: id,
    session: session.id,
    tool: 'run.python',
    arguments: '{}',
    body_hash: '',
    constraints: '{}',
    background: 0,
    metadata: '{}',
    status: 'running',
    ending: null,
    outputs: null,
    usage: null,
    created_at: Date.now(),
    started_at: null,
    ended_at: null,
    queue_ms: null,
    duration_ms: null,
    stdout_bytes: 0,
    stderr_bytes: 0,
    first_seq: 1,
    last_seq: null,
    ...values,
  };
}

export async function addSession(store: SqliteStore, values: Partial<SessionRow> = {}) {
  const row = sessionRow(values);
  await store.write([store.query.insertInto('sessions').values(row).compile()]);
  return { row, key: { id: row.id, sessionId: row.session_id } };
}

export async function addTask(store: SqliteStore, session: SessionRow, values: Partial<TaskRow> = {}) {
  const row = taskRow(session, values);
  await store.write([store.query.insertInto('tasks').values(row).compile()]);
  return row;
}

/** An event that is told from others by its number. */
export function expiring(inSeconds: number): NewEvent {
  return {
    type: 'session.expiring',
    data: { expiresAt: '2026-11-22T21:03:05.123Z', because: 'idle', inSeconds },
  };
}

export function output(
  task: TaskRow,
  offset: number,
  bytes: Uint8Array,
  stream: 'stdout' | 'stderr' = 'stdout',
) {
  return {
    type: 'task.output',
    taskId: task.task_id,
    task: task.id,
    data: { stream, offset },
    bytes,
  } as const;
}

export const terminated: NewEvent = {
  type: 'session.state',
  data: { from: 'terminating', to: 'terminated', reason: 'deleted' },
};

export function taskEnded(taskId: string): NewEvent {
  return {
    type: 'task.ended',
    taskId,
    data: {
      status: 'success',
      ending: { cause: 'exited', exitCode: 0, message: 'The process exited with code 0.' },
      outputsTruncated: false,
      usage: { outputBytes: 0 },
    },
  };
}

/** Everything a reader gives until it ends by itself. */
export async function collect(steps: AsyncIterable<ReaderStep>): Promise<ReaderStep[]> {
  const collected: ReaderStep[] = [];
  for await (const step of steps) collected.push(step);
  return collected;
}

export const linesOf = (steps: readonly ReaderStep[]): string[] =>
  steps.flatMap((step) => (step.kind === 'events' ? step.json : []));
