import t, { type Test } from 'tap';
import type { ReaderStep } from '../../src/events/reader.js';
import { Trimmer } from '../../src/events/trim.js';
import {
  addSession,
  addTask,
  collect,
  expiring,
  linesOf,
  openJournal,
  output,
  taskEnded,
} from '../helpers/store.js';

const never = new AbortController().signal;
const numbers = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index);

async function openTrimmer(t: Test) {
  const opened = await openJournal(t);
  const { row, key } = await addSession(opened.store);
  const stored = async () =>
    (await opened.store.query.selectFrom('sessions').selectAll().where('id', '=', row.id).execute())[0]!;
  return { ...opened, row, key, stored, trimmer: new Trimmer(opened.store) };
}

t.test('the oldest events go with their output, and readers are told', async (t) => {
  const { store, journal, reader, trimmer, row, key } = await openTrimmer(t);
  const task = await addTask(store, row, { first_seq: 2 });
  await journal.append(key, [expiring(1), output(task, 0, Buffer.from('gone')), expiring(3)]);
  await journal.append(key, [output(task, 4, Buffer.from('left')), expiring(5)]);
  t.match(await trimmer.trim(row.id, { upTo: 3 }), { events: 3 });
  const steps = await collect(reader.read({ session: key, after: 0, signal: never, follow: false }));
  t.same(steps[0], { kind: 'gap', from: 1, to: 3 });
  t.match(
    linesOf(steps).map((line) => JSON.parse(line)),
    [{ seq: 4, data: { text: 'left' } }, { seq: 5 }],
  );
  t.same(
    (await store.query.selectFrom('output').select('seq').execute()).map(({ seq }) => seq),
    [4],
  );
  t.equal(await trimmer.trim(row.id, { upTo: 3 }), undefined, 'nothing is left to remove');
});

t.test('what is counted as stored comes back as it is removed, to the byte', async (t) => {
  const { store, journal, trimmer, row, key, stored } = await openTrimmer(t);
  const task = await addTask(store, row, { first_seq: 1, outputs: '{"grüße":"€"}' });
  await journal.append(key, [output(task, 0, Buffer.alloc(5000)), expiring(2)]);
  const bytes = Buffer.byteLength(task.outputs!);
  await journal.append(key, [taskEnded('grüße €')], {
    bytes,
    after: [{ sql: 'update tasks set last_seq = 3, ended_at = 1', parameters: [] }],
  });
  t.ok((await stored()).stored_bytes > 5000 + bytes);
  const trimmed = await trimmer.trim(row.id, { upTo: 3 });
  t.same(trimmed, { events: 3, sessionBytes: 0 });
  t.match(await stored(), { stored_bytes: 0, trimmed_seq: 3, last_seq: 3 });
  t.match(await store.query.selectFrom('tasks').selectAll().execute(), [{ outputs: null, last_seq: 3 }]);
});

t.test('a slice is small, in events and in bytes', async (t) => {
  const { store, journal, trimmer, row, key } = await openTrimmer(t);
  const task = await addTask(store, row);
  await journal.append(key, numbers(1, 450).map(expiring));
  t.match(await trimmer.trim(row.id, { upTo: 450 }), { events: 200 });
  t.match(await trimmer.trim(row.id, { upTo: 450 }), { events: 200 });
  t.match(await trimmer.trim(row.id, { upTo: 450 }), { events: 50 });
  const chunk = Buffer.alloc(64 * 1024);
  for (const n of numbers(0, 39)) await journal.append(key, [output(task, n * chunk.length, chunk)]);
  const trimmed = await trimmer.trim(row.id, { upTo: 490 });
  t.ok(trimmed!.events <= 17, `${trimmed!.events} events of 64 KiB`);
});

t.test(
  'the outputs in the records of tasks count in a slice, and go with the event that ended their task',
  async (t) => {
    const { store, journal, trimmer, row, key, stored } = await openTrimmer(t);
    const outputs = JSON.stringify({ value: 'x'.repeat(400 * 1024) });
    for (const seq of numbers(1, 10)) {
      const task = await addTask(store, row, { outputs, last_seq: seq, ended_at: 1 });
      await journal.append(key, [taskEnded(task.task_id)], { bytes: outputs.length });
    }
    const left = async () =>
      (await store.query.selectFrom('tasks').select('id').where('outputs', 'is not', null).execute()).length;
    t.match(await trimmer.trim(row.id, { upTo: 10 }), { events: 3 }, '3 x 400 KiB are more than a slice');
    t.equal(await left(), 7);
    while (await trimmer.trim(row.id, { upTo: 10 }));
    t.equal(await left(), 0);
    t.equal((await stored()).stored_bytes, 0);
  },
);

t.test('by age only what is oldest goes', async (t) => {
  const { store, journal, trimmer, row, key, stored } = await openTrimmer(t);
  await journal.append(key, numbers(1, 5).map(expiring));
  // A clock that was put back left an old event among younger ones: the numbers are the order.
  await store.write([
    { sql: 'update events set time = case seq when 3 then 2000 else 1000 end', parameters: [] },
  ]);
  t.match(await trimmer.trim(row.id, { upTo: 5, before: 1500 }), { events: 2 });
  t.equal(await trimmer.trim(row.id, { upTo: 5, before: 1500 }), undefined);
  t.equal((await stored()).trimmed_seq, 2);
});

t.test('a task that has not ended keeps its events', async (t) => {
  const { store, trimmer, row } = await openTrimmer(t);
  t.equal(await trimmer.removableUpTo({ id: row.id, last_seq: 20 }), 20);
  await addTask(store, row, { first_seq: 12 });
  await addTask(store, row, { first_seq: 9, ended_at: 1 });
  await addTask(store, row, { first_seq: 15 });
  t.equal(await trimmer.removableUpTo({ id: row.id, last_seq: 20 }), 11);
});

t.test('readers under whom it is trimmed get each number, or are told that it is gone', async (t) => {
  const { store, journal, reader, trimmer, row, key } = await openTrimmer(t);
  const task = await addTask(store, row);
  const told = async (taskId: string | undefined) => {
    const seen: number[] = [];
    const options = { session: key, taskId, after: 0, signal: never, follow: false, limit: 7 };
    for await (const step of reader.read(options) as AsyncIterable<ReaderStep>) {
      if (step.kind === 'gap') seen.push(...numbers(step.from, step.to));
      else if (step.kind === 'events') seen.push(...step.lines.map(({ seq }) => seq));
    }
    return seen;
  };
  for (let round = 0; round < 5; round++) {
    const appended: number[] = [];
    for (let n = 0; n < 300; n++) {
      appended.push(
        ...(await journal.append(key, [output(task, 3 * (round * 300 + n), Buffer.from('abc'))])),
      );
    }
    const last = appended.at(-1)!;
    const trimming = async () => {
      for (let upTo = appended[0]! + 10; upTo < last; upTo += 10) await trimmer.trim(row.id, { upTo });
      await trimmer.trim(row.id, { upTo: last });
    };
    const [session, own] = await Promise.all([told(undefined), told(task.task_id), trimming()]);
    t.same(session, numbers(1, last), 'the session');
    t.same(own, numbers(1, last), 'the task');
  }
});
