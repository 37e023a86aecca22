import t from 'tap';
import { Journal, storedBytes } from '../../../src/events/journal.js';
import { openDatabase } from '../../../src/store/database.js';
import { MIGRATIONS, migrate } from '../../../src/store/migrations/migrate.js';
import { expiring, openStore, sessionRow, silent, taskRow } from '../../helpers/store.js';

const versions = (db: ReturnType<typeof openDatabase>) =>
  db.prepare('select version, name from migrations order by version').all([]).rows;

t.test('migrations are applied in order, recorded, and applied once', async (t) => {
  const db = openDatabase(':memory:');
  t.teardown(() => db.close());
  const first = { name: 'first', sql: 'create table a (n integer)' };
  const second = { name: 'second', sql: 'alter table a add column m integer; create index a_m on a (m)' };
  migrate(db, [first]);
  migrate(db, [first, second]);
  migrate(db, [first, second]);
  t.same(versions(db), [
    [1, 'first'],
    [2, 'second'],
  ]);
  db.exec('insert into a (n, m) values (1, 2)');
});

t.test('a migration that fails leaves nothing of itself', async (t) => {
  const db = openDatabase(':memory:');
  t.teardown(() => db.close());
  t.throws(() =>
    migrate(db, [{ name: 'broken', sql: 'create table a (n integer); create table a (n integer)' }]),
  );
  t.same(versions(db), []);
  migrate(db, [{ name: 'mended', sql: 'create table a (n integer)' }]);
  t.same(versions(db), [[1, 'mended']]);
});

t.test('a newer schema is refused with both versions', async (t) => {
  const db = openDatabase(':memory:');
  t.teardown(() => db.close());
  migrate(db, [...MIGRATIONS, { name: 'later', sql: 'select 1' }]);
  const known = MIGRATIONS.length;
  t.throws(() => migrate(db), {
    message: new RegExp(`schema version ${known + 1}.*versions up to ${known}`),
  });
});

t.test('a store made by the first release is brought forward with all that is in it', async (t) => {
  const directory = t.testdir();
  const db = openDatabase(`${directory}/store.db`);
  migrate(db, MIGRATIONS.slice(0, 1));
  const { stored_bytes: _, ...session } = sessionRow({ id: 'ses_a', session_id: 'a', last_seq: 3 });
  const task = taskRow(sessionRow({ id: 'ses_a' }), { id: 'tsk_a', task_id: 'a', last_seq: 3 });
  const insert = (table: string, row: object) => {
    const columns = Object.keys(row).map((name) => `"${name}"`);
    const sql = `insert into ${table} (${columns}) values (${columns.map(() => '?')})`;
    db.prepare(sql).run(Object.values(row));
  };
  insert('sessions', session);
  insert('tasks', task);
  const data = '{"stream":"stdout","offset":0,"length":7}';
  const event = { session: 'ses_a', time: 1, task_id: 'a', type: 'task.output', data };
  insert('events', { ...event, seq: 1 });
  insert('output', {
    session: 'ses_a',
    seq: 1,
    task: 'tsk_a',
    stream: 'stdout',
    offset: 0,
    bytes: Buffer.from('Grüße'),
  });
  insert('events', { ...event, seq: 2, type: 'session.state', data: '{"reason":"größer"}' });
  const checkpoint = {
    id: 'ckp_a',
    tenant: 'default',
    session: 'ses_a',
    session_id: 'a',
    name: null,
    kind: 'full',
    created_at: 1,
    size_bytes: 1,
    uncompressed_bytes: 1,
    file_count: 1,
    sha256: '',
    details: '{}',
  };
  insert('checkpoints', checkpoint);
  db.close();

  const upgradedAt = Date.now();
  const store = await openStore(t, directory);
  const bytes =
    storedBytes(Buffer.byteLength(data), 7) + storedBytes(Buffer.byteLength('{"reason":"größer"}'), 0);
  t.same(await store.query.selectFrom('sessions').selectAll().execute(), [
    { ...session, stored_bytes: bytes },
  ]);
  t.same(await store.query.selectFrom('tasks').selectAll().execute(), [task]);
  t.equal((await store.query.selectFrom('events').selectAll().execute()).length, 2);
  const [{ last_used_at, ...kept } = { last_used_at: 0 }] = await store.query
    .selectFrom('checkpoints')
    .selectAll()
    .execute();
  t.same(kept, checkpoint);
  t.ok(last_used_at >= upgradedAt - 1, 'the time of a checkpoint begins with the upgrade');
  const journal = new Journal({ store, log: silent });
  t.same(await journal.append({ id: 'ses_a', sessionId: 'a' }, [expiring(4)]), [4]);
});
