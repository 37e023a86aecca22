// When a checkpoint was last of use, for the retention of those whose session is over. Of the ones that are there already
// the time begins with the upgrade. The index holds all that retention asks, since details may take megabytes.
export const checkpointUse = `
  alter table checkpoints add column last_used_at integer not null default 0;
  update checkpoints set last_used_at = cast(unixepoch('subsec') * 1000 as integer);
  create index checkpoints_by_use on checkpoints (last_used_at, session, size_bytes, id);
`;
