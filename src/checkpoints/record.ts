// A checkpoint's row, and what a client sees of it.
import type { CheckpointRow, SessionRow } from '../store/schema.js';
import type { Checkpoint, RestoreCheckpoint } from './schema.js';

type SessionSettings = Omit<RestoreCheckpoint, 'mode' | 'sessionId'>;

/** The `details` of a row. */
export interface CheckpointDetails
  extends Pick<
    Checkpoint,
    'installedPackages' | 'changes' | 'consistency' | 'skipped' | 'changedWhileReading'
  > {
  readonly entryCount: number;
  /** Of the session it was taken of, for the ones restored from it. `env` holds values: never shown. */
  readonly settings: SessionSettings;
}

export function checkpointRecord(row: CheckpointRow): Checkpoint {
  const { entryCount: _, settings: __, ...details } = detailsOf(row);
  return {
    checkpointId: row.id,
    sessionId: row.session_id,
    name: row.name,
    kind: 'full',
    createdAt: new Date(row.created_at).toISOString(),
    sizeBytes: row.size_bytes,
    uncompressedBytes: row.uncompressed_bytes,
    fileCount: row.file_count,
    sha256: row.sha256,
    ...details,
  };
}

export function detailsOf(row: CheckpointRow): CheckpointDetails {
  return JSON.parse(row.details) as CheckpointDetails;
}

export function settingsOf(row: SessionRow): SessionSettings {
  return {
    ...(row.workspace_id === null ? {} : { workspaceId: row.workspace_id }),
    ...(row.user_id === null ? {} : { userId: row.user_id }),
    env: JSON.parse(row.env),
    metadata: JSON.parse(row.metadata),
    limits: JSON.parse(row.limits),
    concurrency: row.concurrency,
    network: JSON.parse(row.network),
    idleTimeoutSeconds: row.idle_timeout_seconds,
    maxLifetimeSeconds: row.max_lifetime_seconds,
    checkpointOnExpiry: row.checkpoint_on_expiry === 1,
  };
}
