import t from 'tap';
import type { SessionKey } from '../../src/events/journal.js';
import { ReaderPlaces } from '../../src/events/reader-places.js';
import { openSse, until } from '../helpers/event-client.js';
import { startEventService } from '../helpers/event-service.js';
import { addSession, addTask, expiring, output, taskEnded, terminated } from '../helpers/store.js';

const numbers = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index);
/** For tests that neither stop the service nor change it. */
const service = await startEventService(t);

const eventsOf = ({ sessionId }: SessionKey) => `/v1/sessions/${sessionId}/events`;

t.test('replay, the head without an id, then live, and the end with the session', async (t) => {
  const { http, store, journal } = service;
  const { key } = await addSession(store);
  await journal.append(key, [expiring(1), expiring(2)]);
  const client = openSse(t, `${http}${eventsOf(key)}`);
  const { status, headers } = await client.headers;
  t.equal(status, 200);
  t.match(headers, { 'content-type': /^text\/event-stream/, 'cache-control': 'no-store' });
  await until(() => client.messages.length === 3);
  await journal.append(key, [expiring(3), terminated]);
  t.equal(await client.ended, true);
  t.same(
    client.messages.map(({ id, event }) => [id, event]),
    [
      ['1', 'session.expiring'],
      ['2', 'session.expiring'],
      [undefined, 'stream.head'],
      ['3', 'session.expiring'],
      ['4', 'session.state'],
    ],
  );
  t.same(JSON.parse(client.messages[2]!.data), { type: 'stream.head', seq: 2 });
});

t.test('Last-Event-ID resumes, and wins over after', async (t) => {
  const { http, store, journal } = service;
  const { key } = await addSession(store);
  await journal.append(key, numbers(1, 6).map(expiring));
  const client = openSse(t, `${http}${eventsOf(key)}?after=1`, { 'last-event-id': '4' });
  await until(() => client.messages.length === 3);
  t.same(
    client.messages.map(({ id }) => id),
    ['5', '6', undefined],
  );
});

t.test('a finished stream tells a browser that comes again to stop', async (t) => {
  const { http, store, journal } = service;
  const { row, key } = await addSession(store, { state: 'terminated' });
  await addTask(store, row, { task_id: 'my-task', first_seq: 1, last_seq: 2 });
  await journal.append(key, [expiring(1), taskEnded('my-task'), terminated]);
  const status = async (path: string, id: string) =>
    (await openSse(t, `${http}${path}`, { 'last-event-id': id }).headers).status;
  t.equal(await status(eventsOf(key), '3'), 204);
  t.equal(await status(eventsOf(key), '2'), 200);
  t.equal(await status('/v1/tasks/my-task/events', '2'), 204);
  const first = openSse(t, `${http}${eventsOf(key)}?after=3`);
  t.equal((await first.headers).status, 200, 'who comes for the first time gets the head');
  t.equal(await first.ended, true);
});

t.test('comments show that a silent stream lives', async (t) => {
  const { http, store } = await startEventService(t, { commentMs: 5 });
  const { key } = await addSession(store);
  const client = openSse(t, `${http}${eventsOf(key)}`);
  await until(() => client.comments.length >= 2);
  t.equal(client.comments[0], ': ping');
});

t.test('when the service stops the stream has its last events and ends', async (t) => {
  const { app, http, store, journal } = await startEventService(t);
  const { key } = await addSession(store);
  const client = openSse(t, `${http}${eventsOf(key)}`);
  await until(() => client.messages.length === 1);
  await journal.append(key, numbers(1, 300).map(expiring));
  await app.close();
  t.equal(await client.ended, true);
  t.equal(client.events().length, 300);
});

t.test('a client that reads slowly loses nothing', async (t) => {
  const { http, store, journal } = service;
  const { row, key } = await addSession(store);
  const task = await addTask(store, row);
  const chunk = Buffer.alloc(64 * 1024, 'x');
  const response = await fetch(`${http}${eventsOf(key)}`, { headers: { accept: 'text/event-stream' } });
  for (const index of numbers(0, 199)) await journal.append(key, [output(task, index * chunk.length, chunk)]);
  await journal.append(key, [terminated]);
  const ids = [...(await response.text()).matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id));
  t.same(ids, numbers(1, 201));
});

t.test('a client that goes away gives its place back', async (t) => {
  const { http, store } = await startEventService(t, { places: new ReaderPlaces(1) });
  const { key } = await addSession(store);
  const first = openSse(t, `${http}${eventsOf(key)}`);
  await until(() => first.messages.length === 1);
  first.cut();
  const status = await until(async () => {
    const client = openSse(t, `${http}${eventsOf(key)}`);
    const answered = await client.headers;
    return answered.status === 200 && answered.status;
  });
  t.equal(status, 200);
});
