// The state of a session changes with each of its tasks, so no index of those that live has it: they are few, and are
// looked through. Of those that are over it never changes again. And a task that runs has no last event yet.
export const states = `
  drop index sessions_by_state;
  drop index sessions_by_tenant_state;
  create index sessions_living on sessions (tenant, created_at, id) where ended_at is null;
  create index sessions_over on sessions (tenant, state, created_at, id) where ended_at is not null;
  create index sessions_by_end on sessions (ended_at) where ended_at is not null;
  drop index tasks_by_last_seq;
  create index tasks_by_last_seq on tasks (session, last_seq) where last_seq is not null;
`;
