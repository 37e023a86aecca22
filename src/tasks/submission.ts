// A submission on its way to being a task: the row that keeps it, and the hash that tells a repetition from a conflict.
import { hash } from 'node:crypto';
import { canonicalJson } from '../lib/canonical-json.js';
import type { TaskRow } from '../store/schema.js';
import type { TaskSubmission } from './schema.js';

/** Equal for the same work in the same session, whatever the order of the members. */
export function hashSubmission(session: string, { taskId: _, ...work }: TaskSubmission): string {
  return hash('sha256', canonicalJson({ session, ...work }));
}

/** The row of a task that waits; `first_seq` comes with the event that accepts it. */
export function queuedRow(
  id: string,
  owner: { tenant: string; session: string },
  submission: TaskSubmission,
  now: number,
): Omit<TaskRow, 'first_seq'> {
  return {
    id,
    tenant: owner.tenant,
    task_id: submission.taskId ?? id,
    session: owner.session,
    tool: submission.tool,
    arguments: JSON.stringify(submission.arguments),
    body_hash: hashSubmission(owner.session, submission),
    constraints: JSON.stringify(submission.constraints ?? {}),
    background: submission.background ? 1 : 0,
    metadata: JSON.stringify(submission.metadata ?? {}),
    status: 'queued',
    ending: null,
    outputs: null,
    usage: null,
    created_at: now,
    started_at: null,
    ended_at: null,
    queue_ms: null,
    duration_ms: null,
    stdout_bytes: 0,
    stderr_bytes: 0,
    last_seq: null,
  };
}
