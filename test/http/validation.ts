import t from 'tap';
import { startService } from '../helpers/world.js';

const METHODS = ['get', 'put', 'post', 'patch', 'delete'];

// Checks are compiled when they are first wanted, so a schema that strict mode refuses would show with a request.
t.test('every route checks what it is sent: a wrong request finds no broken schema', async (t) => {
  const world = await startService(t);
  const { body: document } = await world.call<{ paths: Record<string, Record<string, unknown>> }>(
    'GET',
    '/openapi.json',
  );
  const operations = Object.entries(document.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({ method, path })),
  );
  t.ok(operations.length > 20);
  for (const { method, path } of operations) {
    const url = `${path.replaceAll(/\{\w+\}/g, 'not-there')}?limit=1`;
    const { status } = await world.call(method.toUpperCase(), url, method === 'get' ? undefined : {});
    t.ok(status < 500, `${method} ${path}: ${status}`);
  }
});

t.test('a number in a query is a plain decimal one, on every route that takes one', async (t) => {
  const world = await startService(t);
  const { sessionId } = await world.session();
  const { taskId } = await world.run(sessionId, 'echo', { message: 'm' });
  const places = [
    '/v1/sessions?limit=',
    `/v1/sessions/${sessionId}/tasks?limit=`,
    `/v1/sessions/${sessionId}/checkpoints?limit=`,
    `/v1/sessions/${sessionId}/events?limit=`,
    `/v1/sessions/${sessionId}/events?after=`,
    `/v1/sessions/${sessionId}/events?wait=`,
    `/v1/tasks/${taskId}?wait=`,
    `/v1/tasks/${taskId}/events?after=`,
  ];
  const numbers = [
    'Infinity',
    '-Infinity',
    'NaN',
    '1e1000',
    '1e1',
    '0x10',
    '0b1',
    '0o7',
    '1_000',
    ' 5',
    '5 ',
    '+5',
    '',
    '5n',
    '\u0661',
    '9'.repeat(400),
    '-',
    '.5',
    '5.',
    'null',
    'true',
  ];
  for (const place of places) {
    for (const number of numbers) {
      const reply = await world.call('GET', place + encodeURIComponent(number));
      t.match(reply, { status: 400, body: { code: 'VALIDATION_FAILED' } }, `${place}${number}`);
    }
    t.equal((await world.call('GET', `${place}1`)).status, 200, place);
    t.equal((await world.call('GET', `${place}1&${place.split('?')[1]}2`)).status, 400, `${place} twice`);
  }
});
