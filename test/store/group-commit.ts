import t from 'tap';
import { openDatabase } from '../../src/store/database.js';
import { commitGroup, type Unit } from '../../src/store/group-commit.js';
import { Statements } from '../../src/store/statements.js';

function openTable(t: { teardown(work: () => unknown): void }) {
  const db = openDatabase(':memory:');
  t.teardown(() => db.close());
  db.exec('create table numbers (n integer primary key) strict');
  const commits: number[][] = [];
  const insert = (n: number): Unit => ({
    id: n,
    statements: [{ sql: 'insert into numbers values (?)', parameters: [n] }],
  });
  return { db, commits, insert, statements: new Statements(db) };
}

const count = (db: ReturnType<typeof openDatabase>) =>
  db.prepare('select count(*) from numbers').all([]).rows[0]![0];

t.test('a unit that is alone is committed alone', async (t) => {
  const { db, insert, statements } = openTable(t);
  const outcomes = commitGroup(db, statements, insert(1), () => undefined);
  t.match(outcomes, [{ id: 1, results: [{ changes: 1 }] }]);
  t.equal(count(db), 1);
});

t.test('a group ends after 256 units, so that the first is not kept waiting', async (t) => {
  const { db, insert, statements } = openTable(t);
  let n = 0;
  const outcomes = commitGroup(db, statements, insert(0), () => insert(++n));
  t.ok(outcomes.length <= 256);
  t.equal(count(db), outcomes.length);
});

t.test('a full disk fails everything in the group, and the next group holds', async (t) => {
  const { db, statements } = openTable(t);
  db.exec('create table blobs (bytes blob)');
  db.exec(`pragma max_page_count = 20`);
  const insert = (id: number, size: number): Unit => ({
    id,
    statements: [{ sql: 'insert into blobs values (zeroblob(?))', parameters: [size] }],
  });
  const queue = [insert(2, 1_000_000), insert(3, 10)];
  const outcomes = commitGroup(db, statements, insert(1, 10), () => queue.shift());
  t.match(outcomes, [
    { id: 1, failure: { kind: 'full' } },
    { id: 2, failure: { kind: 'full' } },
  ]);
  t.equal(queue.length, 1, 'who had not been taken yet is left for the next group');
  t.match(
    commitGroup(db, statements, queue.shift()!, () => undefined),
    [{ id: 3, results: [{ changes: 1 }] }],
  );
  t.equal(db.prepare('select count(*) from blobs').all([]).rows[0]![0], 1);
});

t.test('a duplicate in a group that fails as a whole stays a duplicate', async (t) => {
  const { db, insert, statements } = openTable(t);
  commitGroup(db, statements, insert(1), () => undefined);
  db.exec('create table blobs (bytes blob)');
  db.exec(`pragma max_page_count = 20`);
  const queue: Unit[] = [
    { id: 3, statements: [{ sql: 'insert into blobs values (zeroblob(1000000))', parameters: [] }] },
  ];
  t.match(
    commitGroup(db, statements, insert(1), () => queue.shift()),
    [
      { id: 1, failure: { kind: 'duplicate', constraint: 'numbers.n' } },
      { id: 3, failure: { kind: 'full' } },
    ],
  );
});
