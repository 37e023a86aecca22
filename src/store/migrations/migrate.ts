// The schema's history, oldest first: a migration that has been released is never edited, only followed by another.
import type { Database } from '../database.js';
import { initial } from './001-initial.js';
import { retention } from './002-retention.js';
import { states } from './003-states.js';
import { partialReplies } from './004-partial-replies.js';
import { checkpointUse } from './005-checkpoint-use.js';

export interface Migration {
  readonly name: string;
  readonly sql: string;
}

export const MIGRATIONS: readonly Migration[] = [
  { name: 'initial', sql: initial },
  { name: 'retention', sql: retention },
  { name: 'states', sql: states },
  { name: 'partial-replies', sql: partialReplies },
  { name: 'checkpoint-use', sql: checkpointUse },
];

export class NewerSchema extends Error {
  constructor(found: number, known: number) {
    super(
      `The store has schema version ${found}, and this release knows versions up to ${known}: it was written by a ` +
        'newer release. Run that release, or put back a copy of the data directory from before the upgrade.',
    );
  }
}

/** Brings the database to the newest schema, each step whole or not at all. */
export function migrate(db: Database, migrations: readonly Migration[] = MIGRATIONS): void {
  db.exec(
    'create table if not exists migrations (version integer primary key, name text not null, applied_at integer not null)',
  );
  const applied = db.prepare('select coalesce(max(version), 0) from migrations').all([])
    .rows[0]![0] as number;
  if (applied > migrations.length) throw new NewerSchema(applied, migrations.length);
  for (const [index, { name, sql }] of migrations.entries()) {
    const version = index + 1;
    if (version <= applied) continue;
    db.exec('begin immediate');
    try {
      db.exec(sql);
      db.prepare('insert into migrations values (?, ?, ?)').run([version, name, Date.now()]);
      db.exec('commit');
    } catch (error) {
      db.exec('rollback');
      throw error;
    }
  }
}
