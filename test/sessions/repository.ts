import { statSync } from 'node:fs';
import t from 'tap';
import { SessionRepository } from '../../src/sessions/repository.js';
import { addSession, addTask, openStore } from '../helpers/store.js';

t.test(
  'the tasks of a session are forgotten a few at a time, fewer where their arguments are large',
  async (t) => {
    const store = await openStore(t);
    const repository = new SessionRepository(store);
    const left = async () => (await store.query.selectFrom('tasks').select('id').execute()).length;
    const forgotten = async (row: { id: string }) => {
      const counts: number[] = [];
      for (let before = await left(); await repository.forgetTasks(row.id); before = await left()) {
        counts.push(before - (await left()));
      }
      return counts;
    };
    const { row: small } = await addSession(store);
    for (let n = 0; n < 30; n++) await addTask(store, small);
    t.same(await forgotten(small), [20, 10]);
    const { row: large } = await addSession(store);
    const code = (kib: number) => JSON.stringify({ code: 'x'.repeat(kib * 1024) });
    for (let n = 0; n < 3; n++) await addTask(store, large, { arguments: code(600) });
    await addTask(store, large, { arguments: code(3000) });
    const counts = await forgotten(large);
    t.equal(
      counts.reduce((sum, count) => sum + count, 0),
      4,
    );
    t.ok(Math.max(...counts) <= 2, `${counts}`);
  },
);

t.test('sessions of several states are listed as one list, newest first, page by page', async (t) => {
  const store = await openStore(t);
  const repository = new SessionRepository(store);
  const states = ['ready', 'terminated', 'active', 'failed', 'terminating'];
  const made: { name: string; state: string }[] = [];
  for (let n = 0; n < 20; n++) {
    const state = states[n % states.length]!;
    const ended_at = ['terminated', 'failed'].includes(state) ? n : null;
    // Two of each time, so that the id decides.
    await addSession(store, { id: `ses_${n}`, session_id: `${n}`, state, ended_at, created_at: n >> 1 });
    made.push({ name: `${n}`, state });
  }
  const byAge = (a: { name: string }, b: { name: string }) =>
    (Number(b.name) >> 1) - (Number(a.name) >> 1) || (`ses_${a.name}` < `ses_${b.name}` ? 1 : -1);
  for (const wanted of [
    ['ready', 'terminated', 'failed', 'terminated'],
    ['active', 'terminating'],
    ['failed'],
    ['checkpointing'],
  ]) {
    const listed: string[] = [];
    for (let last: { created_at: number; id: string } | undefined; ; ) {
      const before = last && { before: { createdAt: last.created_at, id: last.id } };
      const { rows: page } = await repository.list({
        tenant: 'default',
        state: wanted,
        metadata: [],
        limit: 3,
        ...before,
      });
      t.ok(page.length <= 3);
      listed.push(...page.map(({ session_id }) => session_id));
      last = page.at(-1);
      if (!last) break;
    }
    const expected = made.filter(({ state }) => wanted.includes(state)).toSorted(byAge);
    t.same(
      listed,
      expected.map(({ name }) => name),
      `${wanted}`,
    );
  }
});

t.test('a session that goes to work and back changes its row and no index', async (t) => {
  const directory = t.testdir();
  const store = await openStore(t, directory);
  const { row } = await addSession(store);
  const log = `${directory}/store.db-wal`;
  const repository = new SessionRepository(store);
  const before = statSync(log).size;
  for (const state of ['active', 'ready'])
    await repository.write([repository.update(row.id, { state, last_active_at: 1 })]);
  const pageBytes = 4096 + 24;
  t.equal((statSync(log).size - before) / pageBytes, 2, 'a page for each of the two commits');
});
