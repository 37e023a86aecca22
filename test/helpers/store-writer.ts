// A child process that writes numbered events as fast as it can and reports each that is durable, until it is killed.

import { SqliteStore } from '../../src/store/sqlite.js';
import { DuplicateKey } from '../../src/store/store.js';
import { sessionRow } from './store.js';

const store = new SqliteStore({ directory: process.argv[2]! });
await store.start();
const session = sessionRow({ id: 's', session_id: 's' });
await store.write([store.query.insertInto('sessions').values(session).compile()]).catch((error) => {
  if (!(error instanceof DuplicateKey)) throw error;
});
let { last_seq: seq } = await store.query.selectFrom('sessions').select('last_seq').executeTakeFirstOrThrow();

const writeForEver = async () => {
  for (;;) {
    const next = ++seq;
    await store.write([
      {
        sql: 'insert into events (session, seq, time, task_id, type, data) values (?, ?, ?, ?, ?, ?)',
        parameters: ['s', next, 1, null, 'x', '{}'],
      },
      { sql: 'update sessions set last_seq = last_seq + 1', parameters: [], mustChange: 'session' },
    ]);
    process.send!(next);
  }
};
await Promise.all(Array.from({ length: 8 }, writeForEver));
