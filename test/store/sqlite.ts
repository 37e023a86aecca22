import { fork } from 'node:child_process';
import { once } from 'node:events';
import { chmod, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Worker } from 'node:worker_threads';
import t, { type Test } from 'tap';
import { StoreUnavailable } from '../../src/errors.js';
import { openDatabase } from '../../src/store/database.js';
import { SqliteStore } from '../../src/store/sqlite.js';
import { DuplicateKey, type Statement, UnitRejected } from '../../src/store/store.js';
import { addSession, openStore, sessionRow } from '../helpers/store.js';

const event = (seq: number, data = '{}', session = 's'): Statement => ({
  sql: 'insert into events (session, seq, time, task_id, type, data) values (?, ?, ?, ?, ?, ?)',
  parameters: [session, seq, 1, null, 'x', data],
});

async function seqs(store: SqliteStore): Promise<number[]> {
  return (await store.query.selectFrom('events').select('seq').orderBy('seq').execute()).map(
    ({ seq }) => seq,
  );
}

t.test('what was written is seen by the next read', async (t) => {
  const store = await openStore(t);
  for (let seq = 1; seq <= 50; seq++) {
    await store.write([event(seq)]);
    const { count } = await store.query
      .selectFrom('events')
      .select((eb) => eb.fn.countAll<number>().as('count'))
      .executeTakeFirstOrThrow();
    t.equal(count, seq);
  }
});

t.test('a unit that breaks a rule undoes itself and none of its neighbours', async (t) => {
  const store = await openStore(t);
  const none = {
    sql: 'update sessions set state = ? where id = ?',
    parameters: ['x', 'nobody'],
    mustChange: 'state',
  };
  const results = await Promise.allSettled([
    store.write([event(1)]),
    store.write([event(2), event(1)]),
    store.write([event(3), none]),
    store.write([event(4), { sql: 'select 1 from nowhere', parameters: [] }]),
    store.write([event(5)]),
  ]);
  t.same(
    results.map(({ status }) => status),
    ['fulfilled', 'rejected', 'rejected', 'rejected', 'fulfilled'],
  );
  const [, duplicate, rejected, mistake] = results.map((result) => (result as PromiseRejectedResult).reason);
  t.type(duplicate, DuplicateKey);
  t.equal(duplicate.constraint, 'events.session, events.seq');
  t.type(rejected, UnitRejected);
  t.equal(rejected.label, 'state');
  t.match(mistake.message, /nowhere/);
  t.same(await seqs(store), [1, 5]);
});

t.test('a statement answers with its row and how many it changed', async (t) => {
  const store = await openStore(t);
  const { row } = await addSession(store);
  const [changed, returned, missed] = await store.write([
    { sql: 'update sessions set last_seq = last_seq + 5', parameters: [] },
    {
      sql: 'update sessions set last_seq = last_seq + ? where id = ? returning last_seq, id',
      parameters: [2, row.id],
    },
    { sql: 'update sessions set last_seq = 0 where id = ? returning last_seq', parameters: ['nobody'] },
  ]);
  t.same(changed, { changes: 1 });
  t.same(returned, { changes: 1, row: { last_seq: 7, id: row.id } });
  t.same(missed, { changes: 0 });
});

t.test('bytes come back as they went, and the writer keeps its own', async (t) => {
  const store = await openStore(t);
  const large = Buffer.from('....the bytes\0\xff....', 'latin1');
  const view = large.subarray(4, -4);
  await store.write([
    {
      sql: 'insert into output (session, seq, task, stream, offset, bytes) values (?, ?, ?, ?, ?, ?)',
      parameters: ['s', 1, 't', 'stdout', 0, view],
    },
  ]);
  const { bytes } = await store.query.selectFrom('output').select('bytes').executeTakeFirstOrThrow();
  t.same(Buffer.from(bytes), Buffer.from('the bytes\0\xff', 'latin1'));
  t.equal(view.toString('latin1'), 'the bytes\0\xff');
});

t.test('every column of a row comes back under its name', async (t) => {
  const store = await openStore(t);
  const row = sessionRow({
    user_id: 'ünï "quoted"',
    idle_timeout_seconds: 30,
    created_at: 1_795_000_000_123,
  });
  await store.write([store.query.insertInto('sessions').values(row).compile()]);
  t.same(await store.query.selectFrom('sessions').selectAll().execute(), [row]);
});

t.test('the reading connection refuses to write, transactions and streams', async (t) => {
  const store = await openStore(t);
  await t.rejects(store.query.deleteFrom('sessions').execute(), { cause: /readonly/ });
  await t.rejects(
    store.query.transaction().execute(async () => {}),
    /Store.write/,
  );
  await t.rejects(async () => {
    for await (const _ of store.query.selectFrom('events').selectAll().stream()) t.fail('gave a row');
  }, /in pages/);
});

t.test('what was asked before closing is still written; later it is refused', async (t) => {
  const directory = t.testdir();
  const store = await openStore(t, directory);
  const written = Promise.all(Array.from({ length: 1000 }, (_, index) => store.write([event(index + 1)])));
  const closed = store.close();
  t.equal(store.close(), closed, 'closing twice is one closing');
  await written;
  await closed;
  await t.rejects(store.write([event(2000)]), StoreUnavailable);
  await t.rejects(store.query.selectFrom('events').selectAll().execute(), StoreUnavailable);
  t.equal((await seqs(await openStore(t, directory))).length, 1000);
});

t.test('a store that was never started refuses, and can be closed', async (t) => {
  const store = new SqliteStore({ directory: t.testdir() });
  await t.rejects(store.write([event(1)]), StoreUnavailable);
  await store.close();
});

t.test('a second service on the same store is told who holds it', async (t) => {
  const directory = t.testdir();
  const first = await openStore(t, directory);
  t.equal(first.start(), first.start(), 'starting twice is one start');
  const second = new SqliteStore({ directory });
  await t.rejects(second.start(), { message: new RegExp(`in use by process ${process.pid}.*DATA_DIR`) });
  await second.close();
  await first.write([event(1)]);
  await first.close();
  const third = await openStore(t, directory);
  t.same(await seqs(third), [1]);
});

t.test('a store of a newer release is refused', async (t) => {
  const directory = t.testdir();
  await (await openStore(t, directory)).close();
  const db = openDatabase(`${directory}/store.db`);
  db.exec("insert into migrations values (1000, 'later', 0)");
  db.close();
  await t.rejects(new SqliteStore({ directory }).start(), /schema version 1000.*newer release/);
});

t.test('kill -9: every acknowledged unit is there, whole, and the store opens again', async (t) => {
  const directory = t.testdir();
  const script = fileURLToPath(new URL('../helpers/store-writer.js', import.meta.url));
  let acknowledged = 0;
  for (let round = 0; round < 3; round++) {
    const child = fork(script, [directory], { stdio: 'inherit' });
    const target = acknowledged + 200;
    await new Promise<void>((resolve) => {
      child.on('message', (seq: number) => {
        acknowledged = Math.max(acknowledged, seq);
        if (acknowledged >= target) resolve();
      });
    });
    child.kill('SIGKILL');
    await once(child, 'exit');

    const store = await openStore(t, directory);
    const stored = await seqs(store);
    t.ok(stored.length >= acknowledged, 'all that was acknowledged is there');
    t.same(
      stored,
      [...stored.keys()].map((index) => index + 1),
      'without a hole',
    );
    const { last_seq } = await store.query
      .selectFrom('sessions')
      .select('last_seq')
      .executeTakeFirstOrThrow();
    t.equal(last_seq, stored.length, 'and the unit’s other statement held with it');
    const { rows } = await store.query.executeQuery<{ integrity_check: string }>({
      ...store.query.selectFrom('events').select('seq').compile(),
      sql: 'pragma integrity_check',
      parameters: [],
    });
    t.same(rows, [{ integrity_check: 'ok' }]);
    acknowledged = stored.length;
    await store.close();
  }
});

t.test(
  'the files of the store are for our eyes only, whatever the umask and an earlier run say',
  async (t) => {
    const names = ['store.db', 'store.db-wal', 'store.db-shm'];
    const directory = t.testdir({ 'store.db': '', 'store.db-wal': '', 'store.db-shm': '' });
    for (const name of names) await chmod(join(directory, name), 0o644);
    const store = new SqliteStore({ directory });
    await store.start();
    t.teardown(() => store.close());
    for (const name of names) {
      t.equal((await stat(join(directory, name))).mode & 0o777, 0o600, name);
    }
  },
);

/** The threads that a store starts, in order: the one that writes and the one that reads. */
function watchThreads(t: Test): Worker[] {
  const threads: Worker[] = [];
  const note = (thread: Worker) => threads.push(thread);
  process.on('worker', note);
  t.teardown(() => process.off('worker', note));
  return threads;
}

t.test(
  'a writing thread that dies is replaced; what was under way is unknown, what comes holds',
  async (t) => {
    const threads = watchThreads(t);
    const lost: string[] = [];
    const store = new SqliteStore({
      directory: t.testdir(),
      onWorkerLost: ({ message }) => lost.push(message),
    });
    t.teardown(() => store.close());
    await store.start();
    await store.write([event(1)]);
    // Statements enough that the thread is at work when it ends.
    const long = Array.from({ length: 20_000 }, (_, index) => event(index + 2));
    const underWay = store.write(long);
    const dying = threads[0]!.terminate();
    await t.rejects(underWay, { code: 'STORE_UNAVAILABLE', outcome: 'unknown' });
    const meanwhile = store.write([event(100_000)]);
    await dying;
    await meanwhile;
    await store.write([event(100_001)]);
    const stored = (await seqs(store)).filter((seq) => seq > 1 && seq < 100_000);
    t.ok(stored.length === 0 || stored.length === long.length, 'the unit holds whole or not at all');
    t.same((await seqs(store)).slice(-2), [100_000, 100_001]);
    t.equal(lost.length, 1);
    t.equal(threads.length, 3);
  },
);

t.test('a reading thread that dies is replaced, and nobody who reads notices', async (t) => {
  const threads = watchThreads(t);
  const store = await openStore(t);
  await store.write(Array.from({ length: 2000 }, (_, index) => event(index + 1)));
  const reads = Array.from({ length: 20 }, () => seqs(store));
  await threads[1]!.terminate();
  for (const read of await Promise.all([...reads, seqs(store)])) t.equal(read.length, 2000);
  t.equal(threads.length, 3);
});
