import t from 'tap';
import { Journal } from '../../src/events/journal.js';
import type { Published } from '../../src/events/tail.js';
import { UnitRejected } from '../../src/store/store.js';
import { addSession, addTask, expiring, openJournal, output, silent } from '../helpers/store.js';

t.test('events are numbered per session without holes, in the order of the calls', async (t) => {
  const { store, journal } = await openJournal(t);
  const one = await addSession(store);
  const two = await addSession(store);
  const numbers = await Promise.all([
    journal.append(one.key, [expiring(1), expiring(2)]),
    journal.append(two.key, [expiring(1)]),
    journal.append(one.key, [expiring(3)]),
    journal.append(two.key, [expiring(2), expiring(3)]),
  ]);
  t.same(numbers, [[1, 2], [1], [3], [2, 3]]);
  const rows = await store.query
    .selectFrom('events')
    .select(['seq', 'data'])
    .where('session', '=', one.key.id)
    .orderBy('seq')
    .execute();
  t.same(
    rows.map(({ seq, data }) => [seq, JSON.parse(data).inSeconds]),
    [
      [1, 1],
      [2, 2],
      [3, 3],
    ],
  );
});

t.test('an event has the time it was appended', async (t) => {
  const { store } = await openJournal(t);
  const journal = new Journal({ store, log: silent, now: () => 1_795_000_000_123 });
  const { key } = await addSession(store);
  await journal.append(key, [expiring(1)]);
  t.same(await store.query.selectFrom('events').select('time').execute(), [{ time: 1_795_000_000_123 }]);
});

t.test('statements before and after hold with the events; the later ones see the new number', async (t) => {
  const { store, journal } = await openJournal(t);
  const { row, key } = await addSession(store);
  const task = await addTask(store, row);
  await journal.append(key, [expiring(1), expiring(2)], {
    before: [store.query.updateTable('sessions').set({ state: 'active' }).where('id', '=', key.id).compile()],
    after: [
      {
        sql: 'update tasks set last_seq = (select last_seq from sessions where id = ?) where id = ?',
        parameters: [key.id, task.id],
        mustChange: 'task',
      },
    ],
  });
  t.match(await store.query.selectFrom('sessions').selectAll().executeTakeFirst(), {
    state: 'active',
    last_seq: 2,
  });
  t.match(await store.query.selectFrom('tasks').selectAll().executeTakeFirst(), { last_seq: 2 });
});

t.test('when a statement is refused nothing is stored, numbered or told', async (t) => {
  const { store, journal } = await openJournal(t);
  const { key } = await addSession(store);
  const told: Published[] = [];
  journal.tails.watch((published) => told.push(published));
  const refused = {
    sql: 'update tasks set status = ? where id = ?',
    parameters: ['x', 'nobody'],
    mustChange: 'task',
  };
  const [first, second] = await Promise.allSettled([
    journal.append(key, [expiring(1)], { after: [refused] }),
    journal.append(key, [expiring(2)]),
  ]);
  t.match(first, { status: 'rejected', reason: new UnitRejected('task') });
  t.match(second, { status: 'fulfilled', value: [1] });
  t.same(told, [{ session: key, firstSeq: 1, lastSeq: 1 }]);
});

t.test('a session that is gone takes no events', async (t) => {
  const { journal } = await openJournal(t);
  await t.rejects(
    journal.append({ id: 'gone', sessionId: 'gone' }, [expiring(1)]),
    new UnitRejected('session'),
  );
});

t.test('output bytes are stored once, beside an event that says where they belong', async (t) => {
  const { store, journal } = await openJournal(t);
  const { row, key } = await addSession(store);
  const task = await addTask(store, row);
  const bytes = Buffer.from([0, 0xff, 0x41]);
  await journal.append(key, [expiring(1), output(task, 7, bytes, 'stderr')]);
  const event = await store.query
    .selectFrom('events')
    .selectAll()
    .where('seq', '=', 2)
    .executeTakeFirstOrThrow();
  t.match(event, { task_id: task.task_id, type: 'task.output' });
  t.same(JSON.parse(event.data), { stream: 'stderr', offset: 7, length: 3 });
  const stored = await store.query.selectFrom('output').selectAll().executeTakeFirstOrThrow();
  t.match(stored, { session: key.id, seq: 2, task: task.id, stream: 'stderr', offset: 7 });
  t.same(Buffer.from(stored.bytes), bytes);
});

t.test('a reader that fails cannot make an append look failed', async (t) => {
  const { store, journal } = await openJournal(t);
  const { key } = await addSession(store);
  journal.tails.watch(() => {
    throw new Error('a fault in a reader');
  });
  t.same(await journal.append(key, [expiring(1)]), [1]);
});
