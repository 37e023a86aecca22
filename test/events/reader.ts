import { setMaxListeners } from 'node:events';
import t from 'tap';
import type { ReaderStep } from '../../src/events/reader.js';
import {
  addSession,
  addTask,
  collect,
  expiring,
  linesOf,
  openJournal,
  output,
  taskEnded,
  terminated,
} from '../helpers/store.js';

const never = new AbortController().signal;
setMaxListeners(0, never);
const seqsOf = (steps: readonly ReaderStep[]) => linesOf(steps).map((json) => JSON.parse(json).seq as number);
const numbers = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index);

t.test('without following it gives what is stored after the cursor, the head, and ends', async (t) => {
  const { store, journal, reader } = await openJournal(t);
  const { key } = await addSession(store);
  await journal.append(key, [expiring(1), expiring(2), expiring(3)]);
  const steps = await collect(reader.read({ session: key, after: 1, signal: never, follow: false }));
  t.same(seqsOf(steps), [2, 3]);
  t.match(steps.at(-1), { kind: 'head', seq: 3 });
  t.match(steps[0], { events: [{ type: 'session.expiring', data: { inSeconds: 2 } }, { seq: 3 }] });
});

t.test('following, it replays, says head once, goes on live, and ends with the session', async (t) => {
  const { store, journal, reader } = await openJournal(t);
  const { key } = await addSession(store);
  await journal.append(key, [expiring(1), expiring(2)]);
  const steps: ReaderStep[] = [];
  for await (const step of reader.read({ session: key, after: 0, signal: never, follow: true })) {
    steps.push(step);
    if (step.kind !== 'head') continue;
    void journal.append(key, [expiring(3)]);
    void journal.append(key, [expiring(4), terminated]);
  }
  t.same(seqsOf(steps), [1, 2, 3, 4, 5]);
  t.same(
    steps.filter(({ kind }) => kind === 'head').map((step) => 'seq' in step && step.seq),
    [2],
  );
});

t.test('a cursor beyond the newest event misses nothing that comes, and ends with the session', async (t) => {
  const { store, journal, reader } = await openJournal(t);
  const { key } = await addSession(store);
  await journal.append(key, [expiring(1), expiring(2)]);
  const steps: ReaderStep[] = [];
  for await (const step of reader.read({ session: key, after: 99, signal: never, follow: true })) {
    steps.push(step);
    if (step.kind === 'head') await journal.append(key, [expiring(3), terminated]);
  }
  t.match(steps[0], { kind: 'head', seq: 2 });
  t.same(seqsOf(steps), [3, 4]);
});

t.test('live and replayed events are the same, byte for byte', async (t) => {
  const { store, journal, reader } = await openJournal(t);
  const { row, key } = await addSession(store);
  const task = await addTask(store, row);
  const live = collect(reader.read({ session: key, after: 0, signal: never, follow: true }));
  await journal.append(key, [output(task, 0, Buffer.from('grüße\0\n'))]);
  await journal.append(key, [output(task, 9, Buffer.from([0xff, 0xc3, 0x28])), expiring(1)]);
  await journal.append(key, [taskEnded(task.task_id), terminated]);
  const replayed = await collect(reader.read({ session: key, after: 0, signal: never, follow: false }));
  t.same(linesOf(await live), linesOf(replayed));
  t.equal(linesOf(replayed).length, 5);
});

t.test('a session or task that had ended before ends the reader at its head', async (t) => {
  const { store, journal, reader } = await openJournal(t);
  const { row, key } = await addSession(store, { state: 'terminated' });
  const task = await addTask(store, row, { first_seq: 1, last_seq: 2 });
  await journal.append(key, [expiring(1), taskEnded(task.task_id), terminated]);
  for (const view of [
    { session: key, after: 3 },
    { session: key, after: 99 },
    { session: key, taskId: task.task_id, after: 2 },
  ]) {
    const steps = await collect(reader.read({ ...view, signal: never, follow: true }));
    t.same(steps, [{ kind: 'head', seq: 3 }]);
  }
});

t.test(
  'a task’s view has its own events under the session’s numbers, and ends with task.ended',
  async (t) => {
    const { store, journal, reader } = await openJournal(t);
    const { row, key } = await addSession(store);
    const mine = await addTask(store, row, { first_seq: 2 });
    const other = await addTask(store, row);
    await journal.append(key, [expiring(1), output(mine, 0, Buffer.from('a'))]);
    await journal.append(key, [output(other, 0, Buffer.from('b')), output(mine, 1, Buffer.from('c'))]);
    const steps: ReaderStep[] = [];
    for await (const step of reader.read({
      session: key,
      taskId: mine.task_id,
      after: 0,
      signal: never,
      follow: true,
    })) {
      steps.push(step);
      if (step.kind !== 'head') continue;
      await journal.append(key, [output(other, 1, Buffer.from('d'))]);
      void journal.append(key, [output(mine, 2, Buffer.from('e')), taskEnded(mine.task_id), expiring(2)]);
    }
    t.same(seqsOf(steps), [2, 4, 6, 7]);
  },
);

t.test('many readers, joining at any time, each get everything once', async (t) => {
  const { store, journal, reader } = await openJournal(t);
  const { key } = await addSession(store);
  const readers = [];
  for (let round = 0; round < 20; round++) {
    readers.push(collect(reader.read({ session: key, after: 0, signal: never, follow: true })));
    for (let index = 0; index < 10; index++) void journal.append(key, [expiring(index)]);
    await journal.append(key, [expiring(round)]);
  }
  await journal.append(key, [terminated]);
  for (const steps of await Promise.all(readers)) t.same(seqsOf(steps), numbers(1, 221));
});

t.test('a slow reader loses nothing and holds up nobody', async (t) => {
  const { store, journal, reader } = await openJournal(t);
  const { row, key } = await addSession(store);
  const task = await addTask(store, row);
  const slow = reader.read({ session: key, after: 0, signal: never, follow: true });
  t.match(await slow.next(), { value: { kind: 'head' } });
  const chunk = Buffer.alloc(64 * 1024, 'x');
  for (let index = 0; index < 48; index++) {
    await journal.append(key, [output(task, index * chunk.length, chunk)]);
  }
  await journal.append(key, [terminated]);
  const steps = await collect(slow);
  t.same(seqsOf(steps), numbers(1, 49));
  for (const step of steps) {
    if (step.kind === 'events') t.ok(step.json.join('').length < 1.2 * 1024 * 1024, 'no step is large');
  }
});

t.test('where retention removed events there is a gap, and then what is left', async (t) => {
  const { store, journal, reader } = await openJournal(t);
  const { row, key } = await addSession(store);
  const task = await addTask(store, row, { first_seq: 3 });
  await journal.append(key, numbers(1, 10).map(expiring));
  await store.write([
    { sql: 'delete from events where seq <= 6', parameters: [] },
    { sql: 'update sessions set trimmed_seq = 6', parameters: [] },
  ]);
  const read = (after: number, taskId?: string) =>
    collect(reader.read({ session: key, after, taskId, signal: never, follow: false }));
  const steps = await read(2);
  t.same(steps[0], { kind: 'gap', from: 3, to: 6 });
  t.same(seqsOf(steps), [7, 8, 9, 10]);
  t.same(
    (await read(6)).filter(({ kind }) => kind === 'gap'),
    [],
  );
  t.same((await read(0, task.task_id))[0], { kind: 'gap', from: 3, to: 6 });

  await store.write([
    { sql: 'delete from events', parameters: [] },
    { sql: 'update sessions set trimmed_seq = 10', parameters: [] },
  ]);
  t.same(await read(7), [
    { kind: 'gap', from: 8, to: 10 },
    { kind: 'head', seq: 10 },
  ]);
});

t.test('retention under a reader that is reading is told too', async (t) => {
  const { store, journal, reader } = await openJournal(t);
  const { key } = await addSession(store);
  await journal.append(key, numbers(1, 20).map(expiring));
  const steps = reader.read({ session: key, after: 0, signal: never, follow: false, limit: 5 });
  t.same(seqsOf([(await steps.next()).value as ReaderStep]), [1, 2, 3, 4, 5]);
  await store.write([
    { sql: 'delete from events where seq <= 17', parameters: [] },
    { sql: 'update sessions set trimmed_seq = 17', parameters: [] },
  ]);
  // How much of it had been read ahead is chance; that each number is either sent or named as missing is not.
  const told = (await collect(steps)).flatMap((step) => {
    if (step.kind === 'gap') return numbers(step.from, step.to);
    return step.kind === 'events' ? seqsOf([step]) : [];
  });
  t.same(told, numbers(6, 20));
});

t.test('an aborted reader ends at once, wherever it is', async (t) => {
  const { store, journal, reader } = await openJournal(t);
  const { key } = await addSession(store);
  await journal.append(key, [expiring(1)]);
  for (const stopAt of ['events', 'head', 'waiting']) {
    const stop = new AbortController();
    const steps = reader.read({ session: key, after: 0, signal: stop.signal, follow: true });
    await steps.next();
    if (stopAt !== 'events') await steps.next();
    const next = stopAt === 'waiting' ? steps.next() : undefined;
    stop.abort();
    t.match(await (next ?? steps.next()), { done: true }, stopAt);
  }
  const aborted = AbortSignal.abort();
  t.same(await collect(reader.read({ session: key, after: 0, signal: aborted, follow: true })), []);
});

t.test('at the last call it delivers what is stored and ends', async (t) => {
  const { store, journal, reader } = await openJournal(t);
  const { key } = await addSession(store);
  const lastCall = new AbortController();
  const steps = reader.read({
    session: key,
    after: 0,
    signal: never,
    follow: true,
    lastCall: lastCall.signal,
  });
  t.match(await steps.next(), { value: { kind: 'head', seq: 0 } });
  const waiting = steps.next();
  await journal.append(key, [expiring(1)]);
  t.match(await waiting, { value: { kind: 'events' } });
  await journal.append(key, [expiring(2)]);
  lastCall.abort();
  t.same(seqsOf(await collect(steps)), [2]);
});

t.test('a session or task that nobody knows has no steps', async (t) => {
  const { store, reader } = await openJournal(t);
  const { key } = await addSession(store);
  const unknown = { id: 'unknown', sessionId: 'unknown' };
  t.same(await collect(reader.read({ session: unknown, after: 0, signal: never, follow: true })), []);
  t.same(
    await collect(reader.read({ session: key, taskId: 'none', after: 0, signal: never, follow: true })),
    [],
  );
});

t.test('pages are bounded by a limit, and a limit holds for live events too', async (t) => {
  const { store, journal, reader } = await openJournal(t);
  const { key } = await addSession(store);
  await journal.append(key, numbers(1, 7).map(expiring));
  const sizes: number[] = [];
  for await (const step of reader.read({ session: key, after: 0, signal: never, follow: true, limit: 3 })) {
    if (step.kind === 'events') sizes.push(step.json.length);
    else await journal.append(key, [...numbers(8, 11).map(expiring), terminated]);
  }
  t.same(sizes, [3, 3, 1, 3, 2]);
});
