// The tables, as Kysely sees them. SQLite and Postgres share them: ids and times are made by us, times are epoch
// milliseconds, JSON is text, flags are 0 or 1. `id` is always internal; a client's name for a thing is beside it.

export interface SessionRow {
  id: string;
  tenant: string;
  session_id: string;
  workspace_id: string | null;
  user_id: string | null;
  language: string;
  state: string;
  state_reason: string | null;
  env: string;
  metadata: string;
  limits: string;
  concurrency: number;
  network: string;
  isolation: string | null;
  sandbox_uid: number | null;
  created_at: number;
  last_active_at: number;
  ended_at: number | null;
  idle_timeout_seconds: number | null;
  max_lifetime_seconds: number | null;
  checkpoint_on_expiry: number;
  /** The number of its newest event; raised in the transaction that stores the event. */
  last_seq: number;
  /** Events up to this number were removed by retention. */
  trimmed_seq: number;
  /** About how many bytes its events and their output take. */
  stored_bytes: number;
  /** The name of the checkpoint that its end is to take, or has taken. */
  end_checkpoint: string | null;
  last_checkpoint_id: string | null;
  restored_from: string | null;
}

export interface TaskRow {
  id: string;
  tenant: string;
  task_id: string;
  session: string;
  tool: string;
  arguments: string;
  /** SHA-256 of the submission, so that a repeated taskId can be told from a conflicting one. */
  body_hash: string;
  constraints: string;
  background: number;
  metadata: string;
  status: string;
  ending: string | null;
  outputs: string | null;
  usage: string | null;
  created_at: number;
  started_at: number | null;
  ended_at: number | null;
  queue_ms: number | null;
  duration_ms: number | null;
  stdout_bytes: number;
  stderr_bytes: number;
  first_seq: number;
  last_seq: number | null;
}

export interface EventRow {
  session: string;
  seq: number;
  time: number;
  /** The public taskId, or null. */
  task_id: string | null;
  type: string;
  data: string;
}

/** Output bytes, stored once: the bytes of the `task.output` event with the same session and seq. */
export interface OutputRow {
  session: string;
  seq: number;
  /** Internal id of the task. */
  task: string;
  stream: string;
  offset: number;
  bytes: Uint8Array;
}

export interface CheckpointRow {
  id: string;
  tenant: string;
  session: string;
  /** The session's public id, kept after the session's record is gone. */
  session_id: string;
  name: string | null;
  kind: string;
  created_at: number;
  size_bytes: number;
  uncompressed_bytes: number;
  file_count: number;
  sha256: string;
  details: string;
  /** When it was made, or last restored or downloaded, or when its session ended. */
  last_used_at: number;
}

export interface IdempotencyRow {
  tenant: string;
  method: string;
  path: string;
  key: string;
  body_hash: string;
  /** `running`, `done`, or `unknown` after a crash. */
  state: string;
  task: string | null;
  status: number | null;
  headers: string | null;
  body: Uint8Array | null;
  /** `whole`; `cuttable`: whole, and the route can fetch its large members again; `part`: only the small members. */
  body_kind: string;
  created_at: number;
}

export interface Tables {
  sessions: SessionRow;
  tasks: TaskRow;
  events: EventRow;
  output: OutputRow;
  checkpoints: CheckpointRow;
  idempotency: IdempotencyRow;
}
