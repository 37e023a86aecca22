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
