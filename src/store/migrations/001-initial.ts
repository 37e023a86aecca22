export const initial = `
  create table sessions (
    id text primary key,
    tenant text not null,
    session_id text not null,
    workspace_id text,
    user_id text,
    language text not null,
    state text not null,
    state_reason text,
    env text not null,
    metadata text not null,
    limits text not null,
    concurrency integer not null,
    network text not null,
    isolation text,
    sandbox_uid integer,
    created_at integer not null,
    last_active_at integer not null,
    ended_at integer,
    idle_timeout_seconds integer,
    max_lifetime_seconds integer,
    checkpoint_on_expiry integer not null,
    last_seq integer not null,
    trimmed_seq integer not null,
    end_checkpoint text,
    last_checkpoint_id text,
    restored_from text
  ) strict;
  create unique index sessions_by_session_id on sessions (tenant, session_id);
  create index sessions_by_state on sessions (state, ended_at);
  create index sessions_by_created on sessions (tenant, created_at, id);

  create table tasks (
    id text primary key,
    tenant text not null,
    task_id text not null,
    session text not null,
    tool text not null,
    arguments text not null,
    body_hash text not null,
    constraints text not null,
    background integer not null,
    metadata text not null,
    status text not null,
    ending text,
    outputs text,
    usage text,
    created_at integer not null,
    started_at integer,
    ended_at integer,
    queue_ms real,
    duration_ms real,
    stdout_bytes integer not null,
    stderr_bytes integer not null,
    first_seq integer not null,
    last_seq integer
  ) strict;
  create unique index tasks_by_task_id on tasks (tenant, task_id);
  create index tasks_by_session on tasks (session, created_at, id);
  create index tasks_by_status on tasks (status);

  create table events (
    session text not null,
    seq integer not null,
    time integer not null,
    task_id text,
    type text not null,
    data text not null,
    primary key (session, seq)
  ) strict, without rowid;

  create table output (
    session text not null,
    seq integer not null,
    task text not null,
    stream text not null,
    offset integer not null,
    bytes blob not null,
    primary key (session, seq)
  ) strict;
  create unique index output_by_task on output (task, stream, offset);

  create table checkpoints (
    id text primary key,
    tenant text not null,
    session text not null,
    session_id text not null,
    name text,
    kind text not null,
    created_at integer not null,
    size_bytes integer not null,
    uncompressed_bytes integer not null,
    file_count integer not null,
    sha256 text not null,
    details text not null
  ) strict;
  create index checkpoints_by_session on checkpoints (session, created_at, id);
  create index checkpoints_by_tenant on checkpoints (tenant, created_at, id);

  create table idempotency (
    tenant text not null,
    method text not null,
    path text not null,
    key text not null,
    body_hash text not null,
    state text not null,
    task text,
    status integer,
    headers text,
    body blob,
    created_at integer not null,
    primary key (tenant, method, path, key)
  ) strict;
  create index idempotency_by_created on idempotency (created_at);
`;
