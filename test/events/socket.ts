import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t from 'tap';
import { KillPending, TaskNotRunning } from '../../src/errors.js';
import type { SessionKey } from '../../src/events/journal.js';
import type { NewEvent } from '../../src/events/schema.js';
import { openSocket, until } from '../helpers/event-client.js';
import { startEventService } from '../helpers/event-service.js';
import { addSession, addTask, expiring, output, taskEnded, terminated } from '../helpers/store.js';

const numbers = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index);
setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

function bytesHeld(): number {
  collectGarbage();
  return process.memoryUsage().arrayBuffers;
}

const seqs = (events: readonly string[]) => events.map((event) => JSON.parse(event).seq);
/** For tests that neither stop the service nor change it. */
const service = await startEventService(t);

const eventsOf = ({ sessionId }: SessionKey) => `/v1/sessions/${sessionId}/events`;

t.test('replay, the head, then live, and 1000 when the session is over', async (t) => {
  const { ws, store, journal } = service;
  const { key } = await addSession(store);
  await journal.append(key, numbers(1, 5).map(expiring));
  const client = openSocket(t, `${ws}${eventsOf(key)}?after=2`);
  t.same(await client.message('stream.head'), { type: 'stream.head', seq: 5 });
  t.same(seqs(client.events()), [3, 4, 5]);
  await journal.append(key, [expiring(6)]);
  await until(() => client.events().length === 4);
  await journal.append(key, [expiring(7), terminated]);
  t.equal(await client.closed, 1000);
  t.same(seqs(client.events()), numbers(3, 8));
  t.equal(client.messages.filter((message) => message.includes('stream.head')).length, 1);
});

t.test('the socket of a task closes with 1000 after task.ended', async (t) => {
  const { ws, store, journal } = service;
  const { row, key } = await addSession(store);
  const task = await addTask(store, row, { task_id: 'closing-task' });
  await journal.append(key, [expiring(1), output(task, 0, Buffer.from('a'))]);
  const client = openSocket(t, `${ws}/v1/tasks/closing-task/events`);
  await client.message('stream.head');
  await journal.append(key, [expiring(2), taskEnded('closing-task'), expiring(3)]);
  t.equal(await client.closed, 1000);
  t.same(seqs(client.events()), [2, 4]);
});

t.test('what does not exist is closed with 4404', async (t) => {
  const { ws } = service;
  t.equal(await openSocket(t, `${ws}${eventsOf({ id: '', sessionId: 'none' })}`).closed, 4404);
  t.equal(await openSocket(t, `${ws}/v1/tasks/none/events`).closed, 4404);
});

t.test('where retention removed events the client is told', async (t) => {
  const { ws, store, journal } = service;
  const { key } = await addSession(store);
  await journal.append(key, numbers(1, 5).map(expiring));
  await store.write([
    { sql: 'delete from events where seq <= 3', parameters: [] },
    { sql: 'update sessions set trimmed_seq = 3', parameters: [] },
  ]);
  const client = openSocket(t, `${ws}${eventsOf(key)}`);
  await client.message('stream.head');
  t.same(JSON.parse(client.messages[0]!), { type: 'stream.gap', from: 1, to: 3 });
  t.same(seqs(client.events()), [4, 5]);
});

t.test('stdin and cancel reach the task, in order, also when sent at once', async (t) => {
  const { ws, store, stdin, cancelled } = service;
  const { row, key } = await addSession(store);
  await addTask(store, row, { task_id: 'fed-task' });
  const client = openSocket(t, `${ws}${eventsOf(key)}`);
  client.send({ op: 'stdin', taskId: 'fed-task', text: 'grüße' });
  client.send({ op: 'stdin', taskId: 'fed-task', base64: Buffer.from('bytes').toString('base64') });
  client.send({ op: 'stdin', taskId: 'fed-task', close: true });
  client.send({ op: 'cancel', taskId: 'fed-task', reason: 'enough' });
  await until(() => cancelled.length === 1);
  t.same(
    stdin.filter((each) => each.startsWith('fed-task')),
    ['fed-task grüße', 'fed-task bytes', 'fed-task  closed'],
  );
  t.same(cancelled, ['fed-task enough']);
});

t.test('a flood of input is read no faster than it is taken', async (t) => {
  let running = 0;
  let most = 0;
  const taken: number[] = [];
  const { ws, store } = await startEventService(t, {
    async writeStdin(_principal, _taskId, { bytes }) {
      running += 1;
      most = Math.max(most, running);
      await new Promise(setImmediate);
      running -= 1;
      taken.push(Number(Buffer.from(bytes).toString()));
    },
  });
  const { row, key } = await addSession(store);
  await addTask(store, row, { task_id: 'my-task' });
  const client = openSocket(t, `${ws}${eventsOf(key)}`);
  for (const number of numbers(1, 200)) client.send({ op: 'stdin', taskId: 'my-task', text: String(number) });
  await until(() => taken.length === 200);
  t.same(taken, numbers(1, 200));
  t.equal(most, 1);
});

t.test('a bad message is answered with a problem, and the socket stays', async (t) => {
  const { ws, store, journal } = await startEventService(t, {
    writeStdin: async (_principal, taskId) => {
      throw new TaskNotRunning(taskId, 'success');
    },
    cancelTask: async (_principal, taskId) => {
      throw new KillPending('Task', taskId, 5000);
    },
  });
  const { row, key } = await addSession(store);
  await addTask(store, row, { task_id: 'my-task' });
  const { row: otherRow } = await addSession(store);
  await addTask(store, otherRow, { task_id: 'others' });
  const client = openSocket(t, `${ws}${eventsOf(key)}`);
  await client.message('stream.head');
  const problemOf = async (message: unknown) => {
    const before = client.messages.length;
    client.send(message);
    const answer = JSON.parse(await until(() => client.messages[before]));
    t.equal(answer.type, 'stream.error');
    return [answer.problem.code, answer.problem.errors[0]?.where];
  };
  t.same(await problemOf('no json'), ['VALIDATION_FAILED', '/']);
  t.same(await problemOf('null'), ['VALIDATION_FAILED', '/op']);
  t.same(await problemOf({ op: 'toString' }), ['VALIDATION_FAILED', '/op']);
  t.same(await problemOf({ op: 'stdin' }), ['VALIDATION_FAILED', '/taskId']);
  t.same(await problemOf({ op: 'stdin', taskId: 'my-task' }), ['VALIDATION_FAILED', '/']);
  t.same(await problemOf({ op: 'stdin', taskId: 'my-task', text: '', base64: '' }), [
    'VALIDATION_FAILED',
    '/',
  ]);
  t.same(await problemOf({ op: 'stdin', taskId: 'my-task', base64: '*' }), ['VALIDATION_FAILED', '/base64']);
  t.same(await problemOf({ op: 'stdin', taskId: 'my-task', text: 'x', more: 1 }), [
    'VALIDATION_FAILED',
    '/more',
  ]);
  t.same(await problemOf({ op: 'cancel', taskId: 'none' }), ['TASK_NOT_FOUND', undefined]);
  t.same(
    await problemOf({ op: 'cancel', taskId: 'others' }),
    ['TASK_NOT_FOUND', undefined],
    'of another session',
  );
  t.same(await problemOf({ op: 'stdin', taskId: 'my-task', text: 'x' }), ['TASK_NOT_RUNNING', undefined]);
  t.same(await problemOf({ op: 'cancel', taskId: 'my-task' }), ['KILL_PENDING', undefined]);
  client.socket.send(Buffer.from('binary'));
  await until(() => client.messages.length === 14);
  await journal.append(key, [expiring(1)]);
  await until(() => client.events().length === 1);
});

t.test('the socket of a task takes input for this task only', async (t) => {
  const { ws, store, stdin } = service;
  const { row } = await addSession(store);
  await addTask(store, row, { task_id: 'own-task' });
  await addTask(store, row, { task_id: 'sibling' });
  const client = openSocket(t, `${ws}/v1/tasks/own-task/events`);
  client.send({ op: 'stdin', taskId: 'sibling', text: 'x' });
  t.match(await client.message('stream.error'), { problem: { errors: [{ where: '/taskId' }] } });
  client.send({ op: 'stdin', taskId: 'own-task', text: 'x' });
  await until(() => stdin.includes('own-task x'));
  t.notOk(stdin.some((each) => each.startsWith('sibling')));
});

t.test('a message that is too big is answered with 1009', async (t) => {
  const { ws, store } = service;
  const { key } = await addSession(store);
  const client = openSocket(t, `${ws}${eventsOf(key)}`);
  client.send({ op: 'stdin', taskId: 'x', text: 'x'.repeat(1024 * 1024) });
  t.equal(await client.closed, 1009);
});

t.test('a fault of ours is 1011, and says nothing else', async (t) => {
  const { ws, store } = await startEventService(t, {
    findSession: async () => {
      throw new Error('private detail');
    },
  });
  const { key } = await addSession(store);
  t.equal(await openSocket(t, `${ws}${eventsOf(key)}`).closed, 1011);
});

t.test('when the service stops, each gets its last events and 1001', async (t) => {
  const { app, ws, store, journal } = await startEventService(t);
  const { key } = await addSession(store);
  const client = openSocket(t, `${ws}${eventsOf(key)}`);
  const dashboard = openSocket(t, `${ws}/v1/events`);
  dashboard.send({ op: 'subscribe', sessionId: key.sessionId });
  await client.message('stream.head');
  await dashboard.message('stream.head');
  await journal.append(key, numbers(1, 300).map(expiring));
  const closed = app.close();
  t.equal(await client.closed, 1001);
  t.equal(await dashboard.closed, 1001);
  await closed;
  t.same(seqs(client.events()), numbers(1, 300));
  t.same(seqs(dashboard.events()), numbers(1, 300));
});

t.test('a client that takes nothing cannot hold up the stop', async (t) => {
  const { app, ws, store, journal } = await startEventService(t);
  const { row, key } = await addSession(store);
  const task = await addTask(store, row);
  const client = openSocket(t, `${ws}${eventsOf(key)}`);
  await client.message('stream.head');
  client.socket.pause();
  const chunk = Buffer.alloc(64 * 1024, 'x');
  for (const index of numbers(0, 200)) void journal.append(key, [output(task, index * chunk.length, chunk)]);
  await journal.append(key, [expiring(1)]);
  await app.close();
  t.pass('closed');
});

t.test('a client that answers no ping is cut off, one that does is not', async (t) => {
  const { ws, store } = await startEventService(t, { pingMs: 20 });
  const { key } = await addSession(store);
  const deaf = openSocket(t, `${ws}${eventsOf(key)}`);
  const polite = openSocket(t, `${ws}${eventsOf(key)}`);
  let pings = 0;
  polite.socket.on('ping', () => pings++);
  await deaf.message('stream.head');
  (deaf.socket as unknown as { pong: () => void }).pong = () => {};
  t.equal(await deaf.closed, 1006);
  await until(() => pings > 5);
  t.equal(polite.socket.readyState, polite.socket.OPEN);
});

t.test('a client that stops reading holds up nobody, costs little, and loses nothing', async (t) => {
  const { ws, store, journal } = service;
  const { key } = await addSession(store);
  const stalled = openSocket(t, `${ws}${eventsOf(key)}`);
  const reading = openSocket(t, `${ws}${eventsOf(key)}`);
  await stalled.message('stream.head');
  await reading.message('stream.head');
  stalled.socket.pause();
  const count = 2560;
  // Text and no output: the only buffers that are made are those of the sockets.
  const large: NewEvent = {
    type: 'session.state',
    data: { from: 'ready', to: 'active', reason: 'x'.repeat(16 * 1024) },
  };
  const before = bytesHeld();
  for (let appended = 0; appended < count; appended += 8) {
    await journal.append(key, new Array<NewEvent>(8).fill(large));
  }
  await until(() => reading.events().length === count);
  // Of the 40 MiB that went by little is held; freed buffers are given back a moment after the collection.
  await until(() => bytesHeld() - before < 4 * 1024 * 1024);
  t.ok(stalled.events().length < count);
  stalled.socket.resume();
  await until(() => stalled.events().length === count);
  t.same(stalled.events(), reading.events());
});
