// The row as the client sees it.
import { clip } from '../lib/clip.js';
import type { Metadata } from '../sessions/schema.js';
import type { TaskRow } from '../store/schema.js';
import type { Constraints, Ending, Task, TaskStatus, Usage } from './schema.js';

/** Longer strings in `arguments` are shown up to here. */
const SHOWN_ARGUMENT_CHARS = 4096;

const time = (epochMs: number) => new Date(epochMs).toISOString();
const timeOrNull = (epochMs: number | null) => (epochMs === null ? null : time(epochMs));

/** Where a task stands while it waits; nothing of it is known of one that does not. */
export type QueueFacts = Pick<Task, 'queuePosition' | 'waitsFor' | 'estimatedWaitMs'>;

/** A clock that was put back shows nothing that ended before it began. */
const notBefore = (first: number, later: number | null) => (later === null ? null : Math.max(first, later));

export function taskRecord(
  row: TaskRow,
  sessionId: string,
  {
    args = JSON.parse(row.arguments),
    outputs,
    outputsRemoved,
    ...queue
  }: QueueFacts & {
    args?: Record<string, unknown>;
    outputs?: Record<string, unknown>;
    outputsRemoved?: boolean;
  } = {},
): Task {
  return {
    taskId: row.task_id,
    sessionId,
    tool: row.tool,
    arguments: shorten(args) as Task['arguments'],
    constraints: JSON.parse(row.constraints) as Constraints,
    background: row.background === 1,
    metadata: JSON.parse(row.metadata) as Metadata,
    status: row.status as TaskStatus,
    ...(row.ending === null ? {} : { ending: JSON.parse(row.ending) as Ending }),
    ...(outputs ? { outputs } : {}),
    ...(outputsRemoved ? { outputsRemoved: true } : {}),
    createdAt: time(row.created_at),
    startedAt: timeOrNull(notBefore(row.created_at, row.started_at)),
    endedAt: timeOrNull(notBefore(Math.max(row.created_at, row.started_at ?? 0), row.ended_at)),
    queueMs: row.queue_ms,
    durationMs: row.duration_ms,
    ...queue,
    ...(row.usage === null ? {} : { usage: JSON.parse(row.usage) as Usage }),
    firstSeq: row.first_seq,
    lastSeq: row.last_seq,
  };
}

function shorten(value: unknown): unknown {
  if (typeof value === 'string') {
    return clip(value, SHOWN_ARGUMENT_CHARS);
  }
  if (Array.isArray(value)) return value.map(shorten);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, shorten(item)]));
}
