// What is asked of a large store, how long that takes, and how long a commit takes while some of it is forgotten.
import type { Test } from 'tap';
import { Journal } from '../../src/events/journal.js';
import { Reader } from '../../src/events/reader.js';
import { Trimmer } from '../../src/events/trim.js';
import { SessionRepository } from '../../src/sessions/repository.js';
import { Retention } from '../../src/sessions/retention.js';
import { SqliteStore } from '../../src/store/sqlite.js';
import { TaskRepository } from '../../src/tasks/repository.js';
import { fillStore, type LargeStore, sessionName, taskName } from './large-store.js';
import { expiring, openStore, silent } from './store.js';

/** Generous beside the milliseconds it takes, for machines that do much at once; a scan takes seconds. */
const MOST_MS = 250;
/** A commit beside a deletion is one of thousands, and a disk that others use too holds one up for 400 ms now and then
 *  without any deletion. A unit that removes too much at once takes longer, and there are many. */
const LONGEST_COMMIT_MS = 1000;
/** What each task of the session that is forgotten first returned: 100 of them would make a unit that takes too long. */
const OUTPUTS = JSON.stringify({ value: 'x'.repeat(256 * 1024) });

export async function checkLargeStore(t: Test, directory: string, large: LargeStore): Promise<void> {
  await (await openStore(t, directory)).close();
  fillStore(directory, large);
  const { sessions: count, eventsOfEach, tasksOfEach } = large;
  const store = new SqliteStore({ directory });
  t.teardown(() => store.close());
  const timed = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
    const took: number[] = [];
    let result!: T;
    for (let round = 0; round < 5; round += 1) {
      const from = performance.now();
      result = await work();
      took.push(performance.now() - from);
    }
    took.sort((a, b) => a - b);
    t.comment(`${what}: ${took[2]!.toFixed(1)} ms, at most ${took[4]!.toFixed(1)} ms`);
    t.ok(took[2]! < MOST_MS, what);
    return result;
  };
  await timed('open', () => store.start());
  const journal = new Journal({ store, log: silent });
  const reader = new Reader({ store, journal });
  const sessions = new SessionRepository(store);
  const tasks = new TaskRepository(store);
  const last = sessionName(count - 1);
  const session = { id: last, sessionId: last };
  const signal = new AbortController().signal;
  const page = (options: { after: number; taskId?: string }) => async () => {
    for await (const step of reader.read({ session, signal, follow: false, limit: 200, ...options })) {
      if (step.kind === 'events') return step.lines.length;
    }
    return 0;
  };
  t.equal(await timed('a page of a session, from its middle', page({ after: eventsOfEach / 2 })), 200);
  const quiet = taskName(count - 1, 1);
  const found = await timed('a quiet task beside a loud one', page({ after: 0, taskId: quiet }));
  t.equal(found, eventsOfEach / 100 / tasksOfEach);
  await timed('a page of the loud one', page({ after: eventsOfEach / 2, taskId: taskName(count - 1, 0) }));
  await timed('its stored bytes', () => tasks.storedBytes(taskName(count - 1, 0), 'stdout'));
  await timed('a piece of its output', () =>
    tasks.outputPieces(taskName(count - 1, 0), 'stdout', 60 * (eventsOfEach / 2), 60 * eventsOfEach, 16),
  );
  const list = { tenant: 'default', metadata: [], limit: 50 };
  t.equal((await timed('the newest sessions', () => sessions.list(list))).rows.length, Math.min(50, count));
  t.equal(
    (await timed('sessions that live', () => sessions.list({ ...list, state: ['ready'] }))).rows.length,
    1,
  );
  const labelled = () => sessions.list({ ...list, metadata: [{ key: 'team', value: 'none' }] });
  await timed('sessions with a label that none has', labelled);
  const failed = () => tasks.list({ session: last, status: ['failure'], metadata: [], limit: 50 });
  await timed('failed tasks of a session', failed);
  await timed('what a start looks for', async () => {
    await Promise.all([sessions.unfinished(), tasks.unfinished(), sessions.kept()]);
  });
  // As the last events of a session that did all its work in the end.
  await store.write([
    {
      sql: 'update tasks set outputs = ?, last_seq = ? + created_at where session = ?',
      parameters: [OUTPUTS, eventsOfEach - tasksOfEach + 1, sessionName(0)],
    },
  ]);
  await commitsWhileForgetting(t, { store, journal, session, sessions, keep: count / 2 });
}

async function commitsWhileForgetting(
  t: Test,
  {
    store,
    journal,
    session,
    sessions,
    keep,
  }: {
    store: SqliteStore;
    journal: Journal;
    session: { id: string; sessionId: string };
    sessions: SessionRepository;
    keep: number;
  },
): Promise<void> {
  const commits = async (while_: () => boolean) => {
    const took: number[] = [];
    while (while_()) {
      const from = performance.now();
      await journal.append(session, [expiring(1)]);
      took.push(performance.now() - from);
      await new Promise(setImmediate);
    }
    return took.sort((a, b) => a - b);
  };
  const p = (took: number[], part: number) => took[Math.floor((took.length - 1) * part)]!;
  const tell = (what: string, took: number[]) =>
    t.comment(
      `commits ${what}: ${took.length}, p50 ${p(took, 0.5).toFixed(2)} ms, p99 ${p(took, 0.99).toFixed(2)} ms, at most ${took.at(-1)!.toFixed(1)} ms`,
    );
  let left = 500;
  const alone = await commits(() => left-- > 0);
  tell('alone', alone);
  const retention = new Retention({
    repository: sessions,
    trimmer: new Trimmer(store),
    storeSize: () => store.size(),
    // Of the sessions that are over those go that ended before.
    limits: {
      endedMs: 0,
      eventMs: Number.MAX_SAFE_INTEGER,
      sessionBytes: Number.MAX_SAFE_INTEGER,
      storeBytes: Number.MAX_SAFE_INTEGER,
    },
    log: silent,
    now: () => keep,
  });
  t.teardown(() => retention.close());
  let isDone = false;
  const from = performance.now();
  const forgetting = retention.round().then(() => {
    isDone = true;
  });
  const beside = await commits(() => !isDone);
  await forgetting;
  tell(
    `while the oldest sessions were forgotten, which took ${Math.round(performance.now() - from)} ms`,
    beside,
  );
  t.ok(beside.at(-1)! < Math.max(LONGEST_COMMIT_MS, 4 * alone.at(-1)!), 'the longest commit');
  t.ok(p(beside, 0.99) < Math.max(50, 4 * p(alone, 0.99)), 'a commit hardly waits for a deletion');
}
