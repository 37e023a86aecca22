import t, { type Test } from 'tap';
import type { Journal } from '../../src/events/journal.js';
import { OutputWriter } from '../../src/events/output.js';
import type { NewEvent, OutputStream } from '../../src/events/schema.js';
import { addSession, addTask, openJournal } from '../helpers/store.js';

type OutputEvent = Extract<NewEvent, { type: 'task.output' }>;

type HeldUp = ReturnType<typeof heldUpWriter>['appends'];

/** Stores what waits and what comes after it, until nothing more comes. */
async function storeAll(appends: HeldUp): Promise<void> {
  for (let next = 0; next < appends.length; next++) {
    appends[next]!.store();
    await new Promise(setImmediate);
  }
}

/** A writer into a journal that stores when it is told to. */
function heldUpWriter({
  maxBytes = Number.MAX_SAFE_INTEGER,
  sessionRoom = () => Number.POSITIVE_INFINITY,
} = {}) {
  const appends: { events: readonly OutputEvent[]; store(): void; refuse(error: Error): void }[] = [];
  const journal: Pick<Journal, 'append'> = {
    append: (_session, events) =>
      new Promise((resolve, reject) => {
        appends.push({ events: events as OutputEvent[], store: () => resolve([]), refuse: reject });
      }),
  };
  const errors: unknown[] = [];
  const limits: string[] = [];
  const writer = new OutputWriter({
    journal,
    session: { id: 's', sessionId: 's' },
    task: { id: 't', taskId: 'task' },
    maxBytes,
    sessionRoom,
    onLimit: (whose) => limits.push(whose),
    onError: (error) => errors.push(error),
    // No time passes, so that a busy machine cannot make a pause where the test has none.
    now: () => 0,
  });
  const textOf = ({ events }: (typeof appends)[number]) =>
    events.map(({ data, bytes }) => `${data.stream}:${Buffer.from(bytes).toString()}`);
  return { writer, appends, errors, textOf, limits };
}

async function storedWriter(t: Test, { maxBytes = Number.MAX_SAFE_INTEGER } = {}) {
  const { store, journal } = await openJournal(t);
  const { row, key } = await addSession(store);
  const task = await addTask(store, row);
  let limits = 0;
  const writer = new OutputWriter({
    journal,
    session: key,
    task: { id: task.id, taskId: task.task_id },
    maxBytes,
    sessionRoom: () => Number.POSITIVE_INFINITY,
    onLimit: () => limits++,
    onError: (error) => t.error(error),
  });
  const stored = async (stream: OutputStream) => {
    const rows = await store.query
      .selectFrom('output')
      .select(['offset', 'bytes'])
      .where('stream', '=', stream)
      .orderBy('offset')
      .execute();
    let end = 0;
    for (const { offset, bytes } of rows) {
      t.equal(offset, end, 'each begins where the one before it ended');
      end += bytes.byteLength;
    }
    return Buffer.concat(rows.map(({ bytes }) => bytes));
  };
  return { writer, stored, store, limits: () => limits };
}

t.test('the first chunk goes at once, those right after it go together', async (t) => {
  const { writer, appends, textOf } = heldUpWriter();
  writer.write('stdout', Buffer.from('first'));
  t.equal(appends.length, 1, 'in the same turn');
  writer.write('stdout', Buffer.from('sec'));
  writer.write('stdout', Buffer.from('ond'));
  t.equal(appends.length, 1);
  const flushed = writer.flush();
  await storeAll(appends);
  await flushed;
  t.same(appends.map(textOf), [['stdout:first'], ['stdout:second']]);
});

t.test('nothing is on its way to the store behind what may yet be refused', async (t) => {
  const { writer, appends, errors, textOf } = heldUpWriter();
  writer.write('stdout', Buffer.from('stored'));
  writer.write('stderr', Buffer.from('err'));
  appends[0]!.store();
  await new Promise((resolve) => setTimeout(resolve, 40));
  t.same(appends.map(textOf), [['stdout:stored'], ['stderr:err']]);
  const chunk = Buffer.alloc(64 * 1024, 'x');
  writer.write('stdout', chunk);
  writer.write('stdout', chunk);
  t.equal(appends.length, 2, 'one at a time, however much waits');
  appends[1]!.refuse(new Error('no space'));
  await writer.flush();
  t.equal(appends.length, 2);
  t.equal(errors.length, 1);
  t.same(writer.bytes, { stdout: 6, stderr: 0 }, 'what was refused is not counted');
  t.same(writer.tail('stdout'), { text: 'stored', truncated: false });
  t.same(writer.tail('stderr'), { text: '', truncated: false });
});

t.test(
  'however much waits, little is made into events at once, and the end comes after all of it',
  async (t) => {
    const { writer, appends } = heldUpWriter();
    const chunk = (n: number) => Buffer.alloc(48 * 1024, 97 + (n % 26));
    const written = Array.from({ length: 80 }, (_, n) => chunk(n));
    for (const [n, bytes] of written.entries()) {
      // Nothing is stored meanwhile, so all but the first waits.
      writer.write(n % 40 === 39 ? 'stderr' : 'stdout', bytes);
    }
    const flushed = writer.flush();
    await storeAll(appends);
    await flushed;
    for (const { events } of appends) {
      const bytes = events.reduce((sum, event) => sum + event.bytes.length, 0);
      t.ok(bytes <= 304 * 1024, `${bytes} bytes in one append`);
    }
    const stored = Buffer.concat(appends.flatMap(({ events }) => events.map(({ bytes }) => bytes)));
    t.ok(stored.equals(Buffer.concat(written)), 'in the order of arrival');
    t.same(writer.bytes, { stdout: 78 * 48 * 1024, stderr: 2 * 48 * 1024 });
  },
);

t.test('bytes that wait are sent after a moment, without any more coming', async (t) => {
  const { writer, stored, store } = await storedWriter(t);
  writer.write('stdout', Buffer.from('a'));
  writer.write('stdout', Buffer.from('b'));
  while ((await store.query.selectFrom('output').select('seq').execute()).length < 2) {
    await new Promise(setImmediate);
  }
  t.equal((await stored('stdout')).toString(), 'ab');
});

t.test('the two streams keep their order', async (t) => {
  const { writer, appends, textOf } = heldUpWriter();
  writer.write('stdout', Buffer.from('0'));
  for (const [stream, text] of [
    ['stdout', '1'],
    ['stderr', '2'],
    ['stderr', '3'],
    ['stdout', '4'],
  ] as const) {
    writer.write(stream, Buffer.from(text));
  }
  const flushed = writer.flush();
  await storeAll(appends);
  await flushed;
  t.same(textOf(appends[1]!), ['stdout:1', 'stderr:23', 'stdout:4']);
  t.same(
    appends[1]!.events.map(({ data }) => data.offset),
    [1, 0, 2],
  );
});

t.test('a character that is split over chunks is not split over events', async (t) => {
  const { writer, appends } = heldUpWriter();
  const text = 'aü€😀z'.repeat(20_000);
  const bytes = Buffer.from(text);
  for (let from = 0, size = 1; from < bytes.length; from += size, size = (size * 7) % 997 || 1) {
    writer.write('stdout', bytes.subarray(from, from + size));
  }
  const flushed = writer.flush();
  await storeAll(appends);
  await flushed;
  const events = appends.flatMap(({ events }) => events);
  t.equal(events.map((event) => Buffer.from(event.bytes).toString()).join(''), text);
  t.ok(
    events.every(({ bytes }) => !Buffer.from(bytes).toString().includes('\ufffd')),
    'each event is whole text',
  );
  t.ok(events.every(({ bytes }) => bytes.length <= 64 * 1024));
});

t.test('a character that never ends is stored at the end, as it is', async (t) => {
  const { writer, stored } = await storedWriter(t);
  writer.write('stdout', Buffer.from([0x61, 0xf0, 0x9f]));
  writer.write('stderr', Buffer.from([0xff, 0xfe]));
  await writer.flush();
  t.same(await stored('stdout'), Buffer.from([0x61, 0xf0, 0x9f]));
  t.same(await stored('stderr'), Buffer.from([0xff, 0xfe]));
});

t.test('output is stored exactly up to the limit, which is told once', async (t) => {
  const { writer, stored, limits } = await storedWriter(t, { maxBytes: 100_003 });
  const chunk = Buffer.from('0123456789'.repeat(1000));
  for (let index = 0; index < 8; index++) {
    await writer.write('stdout', chunk);
    await writer.write('stderr', chunk);
  }
  await writer.flush();
  t.equal(limits(), 1);
  t.same(writer.bytes, { stdout: 50_003, stderr: 50_000 });
  t.equal((await stored('stdout')).length, 50_003);
  t.equal((await stored('stderr')).length, 50_000);
});

t.test('exactly the limit is not over the limit', async (t) => {
  const { writer, limits } = heldUpWriter({ maxBytes: 4 });
  writer.write('stdout', Buffer.from('ab'));
  writer.write('stderr', Buffer.from('cd'));
  t.equal(limits.length, 0);
  writer.write('stderr', Buffer.from('e'));
  t.equal(limits.length, 1);
});

t.test(
  'who prints faster than the store writes is asked to wait, and let on when half is stored',
  async (t) => {
    const { writer, appends } = heldUpWriter();
    const chunk = Buffer.alloc(64 * 1024, 'x');
    let asked: undefined | void | Promise<void>;
    let written = 0;
    while (!asked) {
      asked = writer.write('stdout', chunk);
      written += chunk.length;
    }
    t.equal(written, 4 * 1024 * 1024);
    let letOn = false;
    const waiting = asked.then(() => {
      letOn = true;
    });
    let stored = 0;
    for (let next = 0; !letOn; next++) {
      t.ok(stored < written / 2, `${stored} bytes are stored`);
      stored += appends[next]!.events.reduce((sum, { bytes }) => sum + bytes.length, 0);
      appends[next]!.store();
      await new Promise(setImmediate);
    }
    t.ok(stored >= written / 2);
    await waiting;
    t.equal(writer.write('stdout', chunk), undefined);
  },
);

t.test('when the store refuses, it is told once, nothing waits, and the rest is dropped', async (t) => {
  const { writer, appends, errors } = heldUpWriter();
  const chunk = Buffer.alloc(4 * 1024 * 1024, 'x');
  const asked = writer.write('stdout', chunk);
  const refusal = new Error('no space');
  appends[0]!.refuse(refusal);
  await asked;
  t.equal(writer.write('stdout', chunk), undefined);
  await writer.flush();
  t.same(errors, [refusal]);
  t.equal(appends.length, 1);
});

t.test('a million small prints become few events, and nothing is lost', async (t) => {
  const { writer, stored, store } = await storedWriter(t);
  const line = Buffer.from('\n');
  for (let index = 0; index < 1_000_000; index++) {
    const asked = writer.write('stdout', line);
    if (asked) await asked;
  }
  await writer.flush();
  t.equal((await stored('stdout')).length, 1_000_000);
  const { count } = await store.query
    .selectFrom('events')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow();
  t.ok(count < 300, `${count} events`);
});

t.test('tails and counts follow what was kept', async (t) => {
  const { writer, appends } = heldUpWriter({ maxBytes: 20_000 });
  writer.write('stdout', Buffer.from(`${'x'.repeat(10_000)}the end`));
  writer.write('stderr', Buffer.from('short'));
  const flushed = writer.flush();
  await storeAll(appends);
  await flushed;
  t.match(writer.tail('stdout'), { text: /^x+the end$/, truncated: true });
  t.same(writer.tail('stderr'), { text: 'short', truncated: false });
  t.same(writer.bytes, { stdout: 10_007, stderr: 5 });
});

t.test('where the session has no room left, the task is cut there, and gets nothing more', async (t) => {
  let room = 10;
  const { writer, appends, textOf, limits } = heldUpWriter({ sessionRoom: () => room });
  writer.write('stdout', Buffer.from('1234567'));
  t.same(limits, []);
  writer.write('stderr', Buffer.from('890ab'));
  t.same(limits, ['session']);
  room = 1000;
  writer.write('stdout', Buffer.from('no hole'));
  const flushed = writer.flush();
  await storeAll(appends);
  await flushed;
  t.same(appends.flatMap(textOf), ['stdout:1234567', 'stderr:890']);
  t.same(limits, ['session']);
});
