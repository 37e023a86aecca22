// The checkpoint with which a session ends, and what becomes of the end when it fails.
import { PublicError, ShuttingDown, StoreUnavailable } from '../errors.js';
import type { Logger } from '../observability/logger.js';
import type { LiveSession } from './live-session.js';
import type { SessionsOptions } from './options.js';
import type { SessionRepository } from './repository.js';

export interface LastCheckpointOptions {
  readonly repository: Pick<SessionRepository, 'hasEndCheckpoint'>;
  readonly takeCheckpoint: SessionsOptions['takeCheckpoint'];
  readonly log: Logger;
}

export interface EndFacts {
  readonly reason: string;
  /** Null for none. */
  readonly checkpointName: string | null;
  /** An earlier try, or the last run of the service, had begun this end. */
  readonly wasBegun: boolean;
}

/** Ends that nobody asked for are tried once a minute. */
const MAX_FAILED_ENDS = 3;

/** Resolves with why the session ends, when its end may go on. It is taken once for an end: what is left of the workspace
 *  when that is tried again may be half removed. An end that nobody asked for goes on without it when the tree itself is what
 *  fails: else a session could keep itself alive, and its place, for ever. */
export async function takeLastCheckpoint(
  live: LiveSession,
  { reason, checkpointName, wasBegun }: EndFacts,
  { repository, takeCheckpoint, log }: LastCheckpointOptions,
): Promise<string> {
  if (checkpointName === null) return reason;
  if (wasBegun && (await repository.hasEndCheckpoint(live.row.id, checkpointName))) return reason;
  try {
    await takeCheckpoint(live, checkpointName);
    return reason;
  } catch (error) {
    const isExpiry = reason === 'idle' || reason === 'lifetime';
    if (!isExpiry || !isOfTheTree(error)) throw error;
    live.failedEnds += 1;
    if (live.failedEnds < MAX_FAILED_ENDS) throw error;
    log.error({ err: error, sessionId: live.row.session_id }, 'session ends without its last checkpoint');
    return `${reason}CheckpointFailed`;
  }
}

/** No want of disk, store or time is to blame, which may pass. */
function isOfTheTree(error: unknown): boolean {
  if (error instanceof StoreUnavailable || error instanceof ShuttingDown) return false;
  return !(error instanceof PublicError && error.code === 'OUT_OF_DISK');
}
