// The row as the client sees it.
import type { SessionRow } from '../store/schema.js';
import { type Expiry, expiryOf } from './expiry.js';
import {
  isOver,
  type Limits,
  type Metadata,
  type Network,
  type Session,
  type SessionState,
} from './schema.js';

/** What only the node that holds the session knows. */
interface LiveFacts {
  readonly lane: { readonly waiting: number; readonly running: number };
  readonly expiry: Expiry | null;
  readonly lastActiveAt: number;
}

const time = (epochMs: number) => new Date(epochMs).toISOString();
const timeOrNull = (epochMs: number | null) => (epochMs === null ? null : time(epochMs));

export function sessionRecord(row: SessionRow, live?: LiveFacts): Session {
  const expiry = live ? live.expiry : isOver(row.state) ? null : expiryOf(row, false);
  return {
    sessionId: row.session_id,
    workspaceId: row.workspace_id,
    userId: row.user_id,
    language: row.language as Session['language'],
    state: row.state as SessionState,
    stateReason: row.state_reason,
    envNames: Object.keys(JSON.parse(row.env) as Record<string, string>),
    metadata: JSON.parse(row.metadata) as Metadata,
    limits: JSON.parse(row.limits) as Limits,
    concurrency: row.concurrency,
    network: JSON.parse(row.network) as Network,
    isolation: row.isolation,
    createdAt: time(row.created_at),
    lastActiveAt: time(live?.lastActiveAt ?? row.last_active_at),
    endedAt: timeOrNull(row.ended_at),
    idleTimeoutSeconds: row.idle_timeout_seconds,
    maxLifetimeSeconds: row.max_lifetime_seconds,
    expiresAt: timeOrNull(expiry?.at ?? null),
    expiresBecause: expiry?.because ?? null,
    checkpointOnExpiry: row.checkpoint_on_expiry === 1,
    queuedTasks: live?.lane.waiting ?? 0,
    runningTasks: live?.lane.running ?? 0,
    lastSeq: row.last_seq,
    lastCheckpointId: row.last_checkpoint_id,
    restoredFrom: row.restored_from,
    ...(row.state === 'terminated' && row.end_checkpoint !== null && row.last_checkpoint_id !== null
      ? { checkpointId: row.last_checkpoint_id }
      : {}),
  };
}
