import t from 'tap';
import { openDatabase } from '../../../src/store/database.js';
import { MIGRATIONS, migrate } from '../../../src/store/migrations/migrate.js';

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
  t.throws(() => migrate(db), { message: /schema version 2.*versions up to 1/ });
});
