import t from 'tap';
import { openSocket, type SocketClient, until } from '../helpers/event-client.js';
import { startEventService } from '../helpers/event-service.js';
import { addSession, addTask, expiring, output, terminated } from '../helpers/store.js';

const numbers = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index);

/** The numbers a client has seen, by session. */
function seen(client: SocketClient): Record<string, number[]> {
  const bySession: Record<string, number[]> = {};
  for (const event of client.events()) {
    const { sessionId, seq } = JSON.parse(event);
    bySession[sessionId] ??= [];
    bySession[sessionId].push(seq);
  }
  return bySession;
}

t.test('a dashboard follows the sessions it names, each from its own cursor', async (t) => {
  const { ws, store, journal } = await startEventService(t);
  const one = await addSession(store, { session_id: 'one' });
  const two = await addSession(store, { session_id: 'two' });
  const three = await addSession(store, { session_id: 'three' });
  for (const { key } of [one, two, three]) await journal.append(key, numbers(1, 4).map(expiring));
  const client = openSocket(t, `${ws}/v1/events`);
  client.send({ op: 'subscribe', sessionId: 'one' });
  client.send({ op: 'subscribe', sessionId: 'two', after: 3 });
  await until(() => client.messages.filter((message) => message.includes('stream.head')).length === 2);
  t.match(await client.message('stream.head'), { sessionId: 'one', seq: 4 });
  for (const { key } of [one, two, three]) await journal.append(key, [expiring(5)]);
  await until(() => client.events().length === 7);
  t.same(seen(client), { one: numbers(1, 5), two: [4, 5] });

  client.send({ op: 'unsubscribe', sessionId: 'one' });
  client.send({ op: 'subscribe', sessionId: 'none' });
  t.match(await client.message('stream.error'), { problem: { code: 'SESSION_NOT_FOUND' } });
  await journal.append(one.key, [expiring(6)]);
  await journal.append(two.key, [expiring(6)]);
  await until(() => client.events().length === 8);
  t.same(seen(client).two, [4, 5, 6]);
});

t.test('all: everything the caller may see, from now on, new sessions too', async (t) => {
  const { ws, store, journal } = await startEventService(t);
  const old = await addSession(store, { session_id: 'old' });
  const foreign = await addSession(store, { session_id: 'foreign', tenant: 'another' });
  const sameName = await addSession(store, { session_id: 'old', tenant: 'another' });
  await journal.append(old.key, numbers(1, 3).map(expiring));
  const client = openSocket(t, `${ws}/v1/events`);
  client.send({ op: 'subscribe', all: true });
  // Answered after the subscription was taken.
  client.send({ op: 'subscribe', sessionId: 'none' });
  await client.message('stream.error');
  await journal.append(foreign.key, [expiring(1)]);
  await journal.append(sameName.key, [expiring(1)]);
  await journal.append(old.key, [expiring(4), expiring(5)]);
  const fresh = await addSession(store, { session_id: 'fresh' });
  await journal.append(fresh.key, [expiring(1)]);
  await journal.append(fresh.key, [expiring(2), terminated]);
  await until(() => client.events().length === 5);
  t.same(seen(client), { old: [4, 5], fresh: [1, 2, 3] });

  client.send({ op: 'unsubscribe', all: true });
  client.send({ op: 'subscribe', sessionId: 'old', after: 5 });
  await client.message('stream.head');
  await journal.append(old.key, [expiring(6)]);
  await until(() => client.events().length === 6);
});

t.test('a session that talks without end does not silence the others', async (t) => {
  const { ws, store, journal } = await startEventService(t);
  const loud = await addSession(store, { session_id: 'loud' });
  const quiet = await addSession(store, { session_id: 'quiet' });
  const task = await addTask(store, loud.row);
  const chunk = Buffer.alloc(64 * 1024, 'x');
  let talking = true;
  const talk = async () => {
    for (let index = 0; talking; index++)
      await journal.append(loud.key, [output(task, index * chunk.length, chunk)]);
  };
  const talked = talk();
  const client = openSocket(t, `${ws}/v1/events`);
  client.send({ op: 'subscribe', sessionId: 'loud' });
  client.send({ op: 'subscribe', sessionId: 'quiet' });
  await until(() => (seen(client).loud?.length ?? 0) > 5);
  await journal.append(quiet.key, [expiring(1)]);
  await until(() => seen(client).quiet?.length === 1);
  talking = false;
  await talked;
  t.same(seen(client).quiet, [1]);
});

t.test('a subscription must say to what', async (t) => {
  const { ws, store } = await startEventService(t);
  await addSession(store, { session_id: 'one' });
  const client = openSocket(t, `${ws}/v1/events`);
  client.send({ op: 'subscribe' });
  client.send({ op: 'subscribe', sessionId: 'one', all: true });
  client.send({ op: 'stdin', taskId: 'x', text: 'x' });
  await until(() => client.messages.length === 3);
  t.same(
    client.messages.map((message) => JSON.parse(message).problem.errors[0].where),
    ['/', '/', '/op'],
  );
});
