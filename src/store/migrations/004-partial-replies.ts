// Of a large reply only the small members are stored, and others are cut down to them when the store is full; a repeat of
// the request fetches the rest again.
export const partialReplies = `
  alter table idempotency add column body_kind text not null default 'whole';
  create index idempotency_cuttable on idempotency (created_at) where body_kind = 'cuttable';
`;
