import { once } from 'node:events';
import t from 'tap';
import type { Task } from '../../src/tasks/schema.js';
import { openRaw } from '../helpers/raw-http.js';
import { startService, until } from '../helpers/world.js';

const LARGE = 'x'.repeat(7_000_000);

t.test('while large replies wait for their clients others wait for nothing', async (t) => {
  const world = await startService(t, { MAX_UNREAD_REPLY_BYTES: '12000000' });
  const { sessionId } = await world.session();
  const small = await world.run(sessionId, 'echo', { message: 'small' });
  const large = await world.run(sessionId, 'echo', { message: LARGE });
  const path = `/v1/tasks/${large.taskId}`;
  const stalled = openRaw(world.url);
  t.teardown(() => stalled.destroy());
  stalled.write(`GET ${path} HTTP/1.1\r\nHost: ${new URL(world.url).host}\r\n\r\n`);
  await once(stalled, 'data');
  stalled.pause();

  t.match(await world.call('GET', path), {
    status: 503,
    body: { code: 'CAPACITY_EXCEEDED', retryable: true, outcome: 'notStarted' },
  });
  t.match(await world.call('GET', `/v1/tasks/${small.taskId}`), {
    status: 200,
    body: { outputs: { message: 'small' } },
  });
  t.match(await world.call('POST', `${path}/cancel`, {}), { status: 503, body: { outcome: 'done' } });
  const submitted = await world.call('POST', `/v1/sessions/${sessionId}/tasks?wait=60`, {
    ...{ taskId: 'once', tool: 'echo', arguments: { message: LARGE } },
  });
  t.match(submitted, { status: 503, body: { outcome: 'done' } }, 'it ran, and says so');

  stalled.destroy();
  await until(async () => (await world.call('GET', path)).status === 200);
  t.match((await world.call<Task>('GET', '/v1/tasks/once')).body, { status: 'success' });
});
