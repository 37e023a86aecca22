// Sessions of the last run whose workspace could not be found again: one that was being removed has reached its end, any
// other has lost it.
import type { SessionRow } from '../store/schema.js';
import type { StateChange } from './live-session.js';
import type { SessionRepository } from './repository.js';

export interface Unattached {
  readonly row: SessionRow;
  readonly state: 'terminated' | 'failed';
  readonly reason: string;
}

/** A workspace is removed when all else of the end is done, its last checkpoint too. */
export async function unattached(repository: SessionRepository, row: SessionRow): Promise<Unattached> {
  const { state, end_checkpoint: checkpoint } = row;
  const wasBeingRemoved =
    state === 'terminating' &&
    (checkpoint === null || (await repository.hasEndCheckpoint(row.id, checkpoint)));
  return wasBeingRemoved
    ? { row, state: 'terminated', reason: row.state_reason ?? 'deleted' }
    : { row, state: 'failed', reason: 'workspaceLost' };
}

export function endOfUnattached(
  repository: SessionRepository,
  { row, state, reason }: Unattached,
  now: number,
): StateChange {
  return {
    events: [{ type: 'session.state', data: { from: row.state as 'ready', to: state, reason } }],
    statements: repository.end(row.id, state, reason, now),
  };
}
