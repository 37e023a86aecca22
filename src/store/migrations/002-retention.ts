// What retention and long journals need. `stored_bytes` counts an event as Journal does: its data, its output and a
// flat part for the row and its indexes.
export const retention = `
  alter table sessions add column stored_bytes integer not null default 0;
  update sessions set stored_bytes =
    coalesce((select sum(length(cast(data as blob)) + 300) from events where session = sessions.id), 0) +
    coalesce((select sum(length(bytes)) from output where session = sessions.id), 0);

  create index sessions_by_tenant_state on sessions (tenant, state, created_at, id);
  create index events_by_task on events (session, task_id, seq) where task_id is not null;
  drop index tasks_by_status;
  create index tasks_unfinished on tasks (session, first_seq) where ended_at is null;
  create index tasks_by_last_seq on tasks (session, last_seq);
  create index checkpoints_by_session_id on checkpoints (tenant, session_id, created_at, id);
  create index idempotency_running on idempotency (state) where state = 'running';
`;
