import t, { type Test } from 'tap';
import { Trimmer } from '../../src/events/trim.js';
import { SessionRepository } from '../../src/sessions/repository.js';
import { Retention, type RetentionLimits, type RetentionOptions } from '../../src/sessions/retention.js';
import type { SqliteStore } from '../../src/store/sqlite.js';
import { addSession, addTask, openJournal, output, silent } from '../helpers/store.js';

const HOUR = 3_600_000;
const UNLIMITED = Number.MAX_SAFE_INTEGER;

async function openRetention(
  t: Test,
  limits: Partial<RetentionLimits>,
  more: Partial<RetentionOptions> = {},
) {
  const { store, journal } = await openJournal(t);
  const clock = { wall: 1_000 * HOUR, steady: 0 };
  const kept = new Map<string, number>();
  const retention = new Retention({
    repository: new SessionRepository(store),
    trimmer: new Trimmer(store),
    storeSize: () => store.size(),
    limits: {
      endedMs: UNLIMITED,
      eventMs: UNLIMITED,
      sessionBytes: UNLIMITED,
      storeBytes: UNLIMITED,
      ...limits,
    },
    log: silent,
    onTrimmed: (session, bytes) => kept.set(session, bytes),
    now: () => clock.wall,
    steadyNow: () => clock.steady,
    ...more,
  });
  t.teardown(() => retention.close());
  const fill = async (session: Awaited<ReturnType<typeof addSession>>, kib: number, ended = 1) => {
    const { last_seq } = await rowOf(store, session.row.id);
    const task = await addTask(store, session.row, { first_seq: last_seq + 1, ended_at: ended || null });
    for (let n = 0; n < kib; n += 16)
      await journal.append(session.key, [output(task, n * 1024, Buffer.alloc(16 * 1024, 'x'))]);
    return task;
  };
  return { store, journal, retention, clock, kept, fill };
}

const rowOf = async (store: SqliteStore, id: string) =>
  store.query.selectFrom('sessions').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
const idsOf = async (store: SqliteStore) =>
  (await store.query.selectFrom('sessions').select('session_id').orderBy('session_id').execute()).map(
    ({ session_id }) => session_id,
  );
const rowsIn = async (store: SqliteStore, table: 'events' | 'output' | 'tasks', session: string) =>
  (await store.query.selectFrom(table).select('session').where('session', '=', session).execute()).length;

t.test('a session that is over is forgotten whole when its time has come', async (t) => {
  const { store, retention, clock, fill } = await openRetention(t, { endedMs: HOUR });
  const old = await addSession(store, { session_id: 'old', state: 'terminated', ended_at: 998 * HOUR });
  const failed = await addSession(store, { session_id: 'failed', state: 'failed', ended_at: 998 * HOUR });
  const recent = await addSession(store, {
    session_id: 'recent',
    state: 'terminated',
    ended_at: 999.5 * HOUR,
  });
  await addSession(store, { session_id: 'live' });
  for (const each of [old, failed, recent]) await fill(each, 64);
  // Tasks in more than one slice.
  for (let n = 0; n < 50; n++) await addTask(store, old.row, { ended_at: 1 });
  await retention.round();
  t.same(await idsOf(store), ['live', 'recent']);
  for (const table of ['events', 'output', 'tasks'] as const) {
    t.equal(await rowsIn(store, table, old.row.id), 0, table);
    t.not(await rowsIn(store, table, recent.row.id), 0, table);
  }
  clock.wall += HOUR;
  clock.steady += HOUR;
  await retention.round();
  t.same(await idsOf(store), ['live']);
});

t.test('of a session that lives on old events go, as far as their tasks have ended', async (t) => {
  const { store, journal, retention, clock, fill } = await openRetention(t, { eventMs: HOUR });
  const session = await addSession(store, { session_id: 'live' });
  const events = async () =>
    (await store.query.selectFrom('events').select('seq').orderBy('seq').execute()).map(({ seq }) => seq);
  await fill(session, 32);
  const running = await addTask(store, session.row, { first_seq: 3 });
  await journal.append(session.key, [
    output(running, 0, Buffer.from('a')),
    output(running, 1, Buffer.from('b')),
  ]);
  await store.write([{ sql: 'update events set time = ?', parameters: [998 * HOUR] }]);
  await retention.round();
  t.same(await events(), [3, 4]);
  await store.write([{ sql: 'update tasks set ended_at = 1, last_seq = 4', parameters: [] }]);
  await retention.round();
  t.same(await events(), [3, 4], 'age is looked at once a minute');
  clock.steady += 60_000;
  clock.wall += 60_000;
  await retention.round();
  t.same(await events(), []);
  t.match(await rowOf(store, session.row.id), { trimmed_seq: 4, last_seq: 4, stored_bytes: 0 });
});

t.test(
  'a session that takes more than it may loses its oldest events, and only as many as needed',
  async (t) => {
    const { store, retention, kept, fill } = await openRetention(t, { sessionBytes: 4 * 1024 * 1024 });
    const large = await addSession(store, { session_id: 'large' });
    const small = await addSession(store, { session_id: 'small' });
    await fill(small, 512);
    await fill(large, 3 * 1024);
    await retention.round();
    t.match(await rowOf(store, large.row.id), { trimmed_seq: 0 });
    await fill(large, 3 * 1024);
    await retention.round();
    const { trimmed_seq, stored_bytes } = await rowOf(store, large.row.id);
    t.ok(trimmed_seq > 0);
    t.ok(stored_bytes <= 0.9 * 4 * 1024 * 1024 && stored_bytes > 2 * 1024 * 1024, `${stored_bytes} bytes`);
    t.equal(kept.get(large.row.id), stored_bytes, 'and who counts along is told');
    t.match(await rowOf(store, small.row.id), { trimmed_seq: 0 });
  },
);

t.test('a full store forgets the sessions that ended first, then the events of the largest', async (t) => {
  const { store, retention, fill } = await openRetention(t, { storeBytes: 8 * 1024 * 1024 });
  for (const [session_id, ended_at] of [
    ['second', 2],
    ['first', 1],
    ['third', 3],
  ] as const) {
    await fill(await addSession(store, { session_id, ended_at, state: 'terminated' }), 2048);
  }
  const live = await addSession(store, { session_id: 'live' });
  await fill(live, 2560);
  await retention.round();
  t.same(await idsOf(store), ['live', 'second', 'third']);
  t.ok((await store.size()).usedBytes <= 8 * 1024 * 1024);
  await fill(live, 6 * 1024);
  await retention.round();
  t.same(await idsOf(store), ['live']);
  t.ok((await store.size()).usedBytes <= 8 * 1024 * 1024);
  t.ok((await rowOf(store, live.row.id)).trimmed_seq > 0);
  retention.requireRoom();
});

t.test('replies kept for repeats are cut before anything is forgotten', async (t) => {
  const cuts = [true, true, false];
  const { store, retention, fill } = await openRetention(
    t,
    { storeBytes: 2 * 1024 * 1024 },
    { cutReplies: async () => cuts.shift() ?? false },
  );
  await fill(await addSession(store, { session_id: 'over', ended_at: 1, state: 'terminated' }), 4 * 1024);
  const seen: string[][] = [];
  const { size } = store;
  store.size = async () => {
    seen.push(await idsOf(store));
    return size.call(store);
  };
  await retention.round();
  t.same(cuts, []);
  t.same(seen.slice(0, 3), [['over'], ['over'], ['over']], 'forgotten only when nothing could be cut');
  t.same(await idsOf(store), []);
});

t.test('a store that stays full takes no new work, until there is room again', async (t) => {
  const { store, retention, fill } = await openRetention(t, { storeBytes: 2 * 1024 * 1024 });
  const live = await addSession(store, { session_id: 'live' });
  const task = await fill(live, 4 * 1024, 0);
  await retention.round();
  t.throws(() => retention.requireRoom(), {
    code: 'OUT_OF_DISK',
    message: /2097152 bytes/,
    outcome: 'notStarted',
  });
  t.match(await rowOf(store, live.row.id), { trimmed_seq: 0 }, 'a running task keeps what it printed');
  await store.write([{ sql: 'update tasks set ended_at = 1 where id = ?', parameters: [task.id] }]);
  await retention.round();
  retention.requireRoom();
});

t.test('a clock that is put forward does not make everything old at once', async (t) => {
  const { store, retention, clock, fill } = await openRetention(t, { endedMs: HOUR, eventMs: HOUR });
  const ended = await addSession(store, { session_id: 'ended', state: 'terminated', ended_at: clock.wall });
  await fill(ended, 16);
  clock.wall += 1000 * HOUR;
  clock.steady += 1000;
  await retention.round();
  t.same(await idsOf(store), ['ended']);
  clock.wall += HOUR - 1000;
  clock.steady += HOUR - 1000;
  await retention.round();
  t.same(await idsOf(store), ['ended'], 'it is not believed for an hour');
  clock.wall -= 1000 * HOUR;
  clock.steady += 2000;
  await retention.round();
  t.same(await idsOf(store), ['ended'], 'put right meanwhile');
  clock.wall += 2 * HOUR;
  clock.steady += 2 * HOUR;
  await retention.round();
  t.same(await idsOf(store), []);
});

t.test('checkpoints are looked at once a minute, and by age not while the clock is in doubt', async (t) => {
  const asked: boolean[] = [];
  const removeCheckpoints = async (isClockSure: boolean) => void asked.push(isClockSure);
  const { retention, clock } = await openRetention(t, {}, { removeCheckpoints });
  const pass = async (ms: number, jumpMs = 0) => {
    clock.steady += ms;
    clock.wall += ms + jumpMs;
    await retention.round();
  };
  await pass(1000);
  await pass(1000);
  t.same(asked, [true]);
  await pass(60_000, 1000 * HOUR);
  t.same(asked, [true, false]);
  await pass(HOUR);
  t.same(asked, [true, false, true]);
});

t.test('after each step of forgetting tasks it rests as long as the step took', async (t) => {
  const { store } = await openJournal(t);
  const repository = new SessionRepository(store);
  const tookMs: number[] = [];
  const restedMs: number[] = [];
  let endedAt: number | undefined;
  repository.ended = async () => [{ id: 'over', last_seq: 0 }];
  repository.forgetTasks = async () => {
    const startedAt = performance.now();
    if (endedAt !== undefined) restedMs.push(startedAt - endedAt);
    await new Promise((resolve) => setTimeout(resolve, 20));
    endedAt = performance.now();
    tookMs.push(endedAt - startedAt);
    return tookMs.length < 4;
  };
  const limits = {
    endedMs: HOUR,
    eventMs: UNLIMITED,
    sessionBytes: UNLIMITED,
    storeBytes: UNLIMITED,
  };
  const trimmer = new Trimmer(store);
  const retention = new Retention({
    repository,
    trimmer,
    storeSize: () => store.size(),
    limits,
    log: silent,
  });
  t.teardown(() => retention.close());
  await retention.round();
  t.equal(restedMs.length, 3);
  // A timer counts whole milliseconds.
  for (const [index, rested] of restedMs.entries()) t.ok(rested >= tookMs[index]! - 2, `${rested} ms`);
});

t.test('it stops between two steps when the service does', async (t) => {
  const { store, retention, fill } = await openRetention(t, { endedMs: HOUR });
  const old = await addSession(store, { session_id: 'old', state: 'terminated', ended_at: 1 });
  await fill(old, 8 * 1024);
  const round = retention.round();
  t.equal(retention.round(), round, 'rounds do not overlap');
  await retention.close();
  await round;
  t.same(await idsOf(store), ['old']);
});
