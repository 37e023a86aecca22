import t from 'tap';
import { ReaderPlaces } from '../../src/events/reader-places.js';
import { openSocket, openSse, until } from '../helpers/event-client.js';
import { startEventService } from '../helpers/event-service.js';
import { exchange } from '../helpers/raw-http.js';
import { addSession, addTask, expiring, output, taskEnded, terminated } from '../helpers/store.js';

const numbers = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index);

interface Page {
  readonly events: { readonly seq: number }[];
  readonly nextAfter: number;
  readonly head: number;
  readonly gap?: { from: number; to: number };
}

async function getPage(url: string): Promise<Page> {
  const response = await fetch(url);
  if (response.status !== 200) throw new Error(await response.text());
  return (await response.json()) as Page;
}

t.test('JSON pages lead from the beginning to the head', async (t) => {
  const { http, store, journal } = await startEventService(t);
  const { key } = await addSession(store, { session_id: 'my-session' });
  await journal.append(key, numbers(1, 7).map(expiring));
  const url = `${http}/v1/sessions/my-session/events`;
  const seen: number[] = [];
  let page = await getPage(`${url}?limit=3`);
  t.equal(page.head, 7);
  t.equal(page.nextAfter, 3);
  while (page.events.length > 0) {
    seen.push(...page.events.map(({ seq }) => seq));
    page = await getPage(`${url}?limit=3&after=${page.nextAfter}`);
  }
  t.same(seen, numbers(1, 7));
  t.same(page, { events: [], nextAfter: 7, head: 7 });
  t.same(await getPage(`${url}?after=99`), page, 'a cursor beyond the head is led back to it');
});

t.test('a page of a task has its events only', async (t) => {
  const { http, store, journal } = await startEventService(t);
  const { row, key } = await addSession(store);
  const task = await addTask(store, row, { task_id: 'my-task' });
  await journal.append(key, [
    expiring(1),
    output(task, 0, Buffer.from('hello')),
    expiring(2),
    taskEnded('my-task'),
  ]);
  const page = await getPage(`${http}/v1/tasks/my-task/events`);
  t.match(page.events, [
    { seq: 2, taskId: 'my-task', data: { text: 'hello' } },
    { seq: 4, type: 'task.ended' },
  ]);
});

t.test('pages of a task come to an end, whatever others of its session store', async (t) => {
  const { http, store, journal } = await startEventService(t);
  const { row, key } = await addSession(store);
  const task = await addTask(store, row, { task_id: 'my-task' });
  await journal.append(key, [output(task, 0, Buffer.from('hello')), ...numbers(2, 9).map(expiring)]);
  const url = `${http}/v1/tasks/my-task/events`;
  const follow = async (after = 0) => {
    const pages: Page[] = [];
    for (let next = after; pages.length === 0 || next < pages.at(-1)!.head; ) {
      const page = await getPage(`${url}?after=${next}&limit=1`);
      pages.push(page);
      next = page.nextAfter;
      if (pages.length > 10) break;
    }
    return {
      pages: pages.length,
      seqs: pages.flatMap(({ events }) => events.map(({ seq }) => seq)),
      last: pages.at(-1)!,
    };
  };
  const running = await follow();
  t.same(running.seqs, [1]);
  t.match(running.last, { nextAfter: 9, head: 9 }, 'as long as it runs it is led past the others');
  await journal.append(key, [taskEnded('my-task')]);
  await store.write([{ sql: 'update tasks set ended_at = 1, last_seq = 10', parameters: [] }]);
  await journal.append(key, [expiring(1), expiring(2)]);
  t.same((await follow(running.last.nextAfter)).seqs, [10], 'and misses nothing');
  const whole = await follow();
  t.same(whole.seqs, [1, 10]);
  t.equal(whole.pages, 2, 'its last event is the head');
  for (const after of [10, 11, 99])
    t.match(await getPage(`${url}?after=${after}`), { events: [], nextAfter: 10, head: 10 });
});

t.test('a page can wait for what has not happened yet', async (t) => {
  const { http, store, journal } = await startEventService(t);
  const { key } = await addSession(store, { session_id: 'my-session' });
  await journal.append(key, [expiring(1)]);
  const url = `${http}/v1/sessions/my-session/events`;
  t.match(await getPage(`${url}?wait=60`), { nextAfter: 1 }, 'not when there is something already');
  const waiting = getPage(`${url}?after=1&wait=60`);
  await getPage(url);
  await journal.append(key, [expiring(2)]);
  t.match(await waiting, { events: [{ seq: 2 }], nextAfter: 2, head: 2 });
  t.match(await getPage(`${url}?after=2&wait=0.01`), { events: [], nextAfter: 2, head: 2 });
});

t.test('what retention removed is named in the page', async (t) => {
  const { http, store, journal } = await startEventService(t);
  const { key } = await addSession(store, { session_id: 'my-session' });
  await journal.append(key, numbers(1, 5).map(expiring));
  await store.write([
    { sql: 'delete from events where seq <= 3', parameters: [] },
    { sql: 'update sessions set trimmed_seq = 3', parameters: [] },
  ]);
  const page = await getPage(`${http}/v1/sessions/my-session/events`);
  t.match(page, { gap: { from: 1, to: 3 }, events: [{ seq: 4 }, { seq: 5 }] });
});

t.test('wrong cursors and unknown names are problems', async (t) => {
  const { http, ws, store } = await startEventService(t);
  await addSession(store, { session_id: 'my-session' });
  const problem = async (path: string, headers = {}) => {
    const response = await fetch(`${http}${path}`, { headers });
    const { code, errors } = (await response.json()) as { code: string; errors: { where: string }[] };
    return [response.status, code, errors[0]?.where];
  };
  const events = '/v1/sessions/my-session/events';
  t.same(await problem('/v1/sessions/none/events'), [404, 'SESSION_NOT_FOUND', undefined]);
  t.same(await problem('/v1/tasks/none/events'), [404, 'TASK_NOT_FOUND', undefined]);
  t.same(await problem(`${events}?after=-1`), [400, 'VALIDATION_FAILED', '/query/after']);
  t.same(await problem(`${events}?after=x`), [400, 'VALIDATION_FAILED', '/query/after']);
  t.same(await problem(`${events}?limit=1001`), [400, 'VALIDATION_FAILED', '/query/limit']);
  t.same(await problem(`${events}?wait=61`), [400, 'VALIDATION_FAILED', '/query/wait']);
  t.same(await problem(`${events}?from=1`), [400, 'VALIDATION_FAILED', '/query/from']);
  const sse = { accept: 'text/event-stream', 'last-event-id': 'x' };
  t.same(await problem(events, sse), [400, 'VALIDATION_FAILED', '/headers/last-event-id']);
  const { socket } = openSocket(t, `${ws}${events}?after=-1`);
  const [, response] = await new Promise<[unknown, { statusCode: number }]>((resolve) => {
    socket.on('unexpected-response', (...args) => resolve(args as never));
  });
  t.equal(response.statusCode, 400, 'also before a WebSocket is opened');
});

const upgradeRequest = (path: string) =>
  [
    `GET ${path} HTTP/1.1`,
    'Host: 127.0.0.1',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
    '\r\n',
  ].join('\r\n');

t.test('when the places for live readers are taken, more are refused, and pages still work', async (t) => {
  const { http, ws, store } = await startEventService(t, { places: new ReaderPlaces(2) });
  await addSession(store, { session_id: 'my-session' });
  const events = '/v1/sessions/my-session/events';
  const first = openSocket(t, `${ws}${events}`);
  const second = openSocket(t, `${ws}/v1/events`);
  await first.message('stream.head');
  await until(() => second.socket.readyState === second.socket.OPEN);
  t.equal(await openSocket(t, `${ws}${events}`).closed, 1013);
  const asked = performance.now();
  const said = await exchange(`${http}${events}`, upgradeRequest(events));
  t.ok(said.endsWith('\x88\x02\x03\xf5'), 'a close frame with 1013');
  t.ok(performance.now() - asked < 15_000, 'one that never answers it is not waited for');
  const refused = await fetch(`${http}${events}`, { headers: { accept: 'text/event-stream' } });
  t.equal(refused.status, 503);
  t.equal(refused.headers.get('retry-after'), '5');
  t.match(await refused.json(), { code: 'CAPACITY_EXCEEDED' });
  t.equal((await fetch(`${http}${events}`)).status, 200);

  first.socket.close();
  await first.closed;
  const later = await until(async () => {
    const client = openSocket(t, `${ws}${events}`);
    const opened = await Promise.race([client.message('stream.head'), client.closed]);
    return typeof opened === 'object' && client;
  });
  t.ok(later, 'a place that was given back is taken again');
});

t.test('a client gets the type that it prefers, and JSON when it does not say', async (t) => {
  const { http, store, journal } = await startEventService(t);
  const { key } = await addSession(store, { session_id: 'my-session', state: 'terminated' });
  await journal.append(key, [terminated]);
  const typeFor = async (accept: string | undefined, path = '/v1/sessions/my-session/events') => {
    const reply = await fetch(http + path, { headers: accept === undefined ? {} : { accept } });
    await reply.text();
    if (path.endsWith('/events')) t.match(reply.headers.get('vary'), /\baccept\b/i);
    return reply.headers.get('content-type')?.split(';')[0];
  };
  const [json, stream] = ['application/json', 'text/event-stream'];
  for (const [accept, type] of [
    [undefined, json],
    ['*/*', json],
    [json, json],
    [stream, stream],
    ['TEXT/Event-Stream', stream],
    [`${json}, ${stream}`, json],
    [`${stream}, ${json}`, stream],
    [`${stream};q=0.5, ${json}`, json],
    [`${json};q=0.5, ${stream}`, stream],
    [`${stream};q=0`, json],
    [`${stream};q=0, */*`, json],
    ['text/*', stream],
    ['text/html', json],
    [`${json}, ${stream};q=0.9, */*;q=0.1`, json],
    ['not an accept header', json],
  ] as const)
    t.equal(await typeFor(accept), type, `Accept: ${accept}`);
});

t.test('the stream has an address of its own', async (t) => {
  const { http, store, journal } = await startEventService(t);
  const { row, key } = await addSession(store, { session_id: 'my-session' });
  const task = await addTask(store, row);
  await journal.append(key, [output(task, 0, Buffer.from('hello'))]);
  const client = openSse(t, `${http}/v1/sessions/my-session/events/stream`, { accept: '*/*' });
  t.match(await client.headers, { status: 200, headers: { 'content-type': /^text\/event-stream/ } });
  await until(() => client.events().length === 1);
  await journal.append(key, [terminated]);
  t.equal(await client.ended, true);
  const resumed = await fetch(`${http}/v1/sessions/my-session/events/stream?after=1`);
  t.match(await resumed.text(), /^id: 2$/m);
  const missing = await fetch(`${http}/v1/sessions/none/events/stream`);
  t.match(await missing.json(), { code: 'SESSION_NOT_FOUND' });
});
