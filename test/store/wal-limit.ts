import { once } from 'node:events';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import t, { type Test } from 'tap';
import { openDatabase } from '../../src/store/database.js';
import { WalLimit } from '../../src/store/wal-limit.js';

const MIB = 1024 * 1024;

/** A log of at most 1 MiB, and commits of 32 KiB. */
function openWriting(t: Test) {
  const path = join(t.testdir(), 'store.db');
  const db = openDatabase(path);
  t.teardown(() => db.close());
  db.exec('pragma journal_mode = wal; create table words (word text)');
  const insert = db.prepare('insert into words values (?)');
  return {
    path,
    limit: new WalLimit(db, path, MIB),
    commit: () => insert.run(['x'.repeat(32 * 1024)]),
    size: () => statSync(`${path}-wal`).size,
  };
}

/** Reads in a thread of its own, each read begun before the last has ended: there is no moment without one. */
const OVERLAPPING = `
const { parentPort, workerData } = require('node:worker_threads');
import(workerData.database).then(({ openDatabase }) => {
  const readings = [openDatabase(workerData.path), openDatabase(workerData.path)];
  const begin = (db) => {
    db.exec('begin');
    db.prepare('select count(*) from words').all([]);
  };
  begin(readings[0]);
  const turns = setInterval(() => {
    begin(readings[1]);
    readings[0].exec('commit');
    readings.reverse();
  }, 2);
  parentPort.once('message', () => {
    clearInterval(turns);
    for (const db of readings) db.close();
  });
  parentPort.postMessage('reading');
});`;

t.test('where each read begins before the last has ended the log is kept to its limit', async (t) => {
  const { path, limit, commit, size } = openWriting(t);
  const workerData = { path, database: new URL('../../src/store/database.js', import.meta.url).href };
  const worker = new Worker(OVERLAPPING, { eval: true, workerData });
  t.teardown(() => worker.terminate());
  await once(worker, 'message');
  let most = 0;
  for (let n = 0; n < 200 && most < 2 * MIB; n++) {
    commit();
    most = Math.max(most, size());
    limit.keep();
  }
  t.ok(most > 0.9 * MIB, 'it is not emptied before it has to be');
  // Where the reading thread got no processor for 250 ms, the log has grown a quarter more meanwhile.
  t.ok(most < 2 * MIB, `at most ${most} bytes`);
  worker.postMessage('stop');
  await once(worker, 'exit');
});

t.test('one long read keeps the log from being emptied, and is not waited for at every commit', async (t) => {
  const { path, limit, commit, size } = openWriting(t);
  const reading = openDatabase(path);
  t.teardown(() => reading.close());
  reading.exec('begin');
  reading.prepare('select count(*) from words').all([]);
  let waits = 0;
  while (size() < 2 * MIB) {
    commit();
    const from = performance.now();
    limit.keep();
    // It gives up after 250 ms; otherwise it only looks at the size.
    if (performance.now() - from > 200) waits += 1;
  }
  t.ok(waits >= 2 && waits <= 8, `waited ${waits} times while it grew from 1 to 2 MiB`);
  reading.exec('commit');
  for (let n = 0; n < 50 && size() > 0; n++) {
    commit();
    limit.keep();
  }
  t.equal(size(), 0, 'and then it is');
});
