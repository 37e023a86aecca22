// Every task and every event of every tool, however it ends, against the schemas that the service publishes. The clients check
// what they are sent (`check-sent.ts`); here everything is made to be sent.
import t from 'tap';
import { openSocket, openSse } from '../helpers/event-client.js';
import { eventsOf, startService } from '../helpers/world.js';

t.test('what is sent satisfies its own schema, however a task ends', async (t) => {
  const world = await startService(t, {
    PIP_INDEX_URL: 'http://127.0.0.1:9/simple',
  });
  const { sessionId } = await world.session({ concurrency: 2 });
  const ws = world.url.replace('http', 'ws');
  const socket = openSocket(t, `${ws}/v1/sessions/${sessionId}/events`);
  const dashboard = openSocket(t, `${ws}/v1/events`);
  dashboard.send({ op: 'subscribe', sessionId });
  const sse = openSse(t, `${world.url}/v1/sessions/${sessionId}/events/stream`);
  const calls: [string, Record<string, unknown>, Record<string, unknown>?][] = [
    ['echo', { message: 'hello' }],
    ['fs.write', { path: 'a/b.txt', contents: 'text' }],
    ['fs.read', { path: 'a/b.txt' }],
    ['fs.read', { path: 'missing' }],
    ['fs.read', { path: '../outside' }],
    ['fs.list', { recursive: true }],
    ['fs.list', { path: 'missing' }],
    ['fs.stat', { path: 'a' }],
    ['fs.stat', { path: 'missing' }],
    ['fs.mkdir', { path: 'c' }],
    ['fs.mkdir', { path: 'a/b.txt/d' }],
    ['fs.move', { path: 'c', to: 'd' }],
    ['fs.move', { path: 'missing', to: 'e' }],
    ['fs.remove', { path: 'd' }],
    ['fs.remove', { path: 'missing' }],
    ['run.python', { code: 'print(1)' }],
    ['run.python', { code: 'raise SystemExit(3)' }],
    ['run.python', { code: 'print("x" * 100_000)' }],
    ['run.python', { code: 'while True: pass' }, { constraints: { timeoutSeconds: 1 } }],
    ['run.python', { code: 'print("x" * 10_000)' }, { constraints: { maxOutputBytes: 1000 } }],
    ['run.command', { command: ['true'] }],
    ['run.command', { command: ['no-such-program'] }],
    ['run.command', { command: 'kill -9 $$' }],
    ['run.command', { command: ['true'], cwd: 'missing' }],
    ['pkg.install', { requirements: ['nothing-of-that-name'] }],
  ];
  for (const [tool, args, more] of calls) await world.run(sessionId, tool, args, more);
  const failed = await world.run(sessionId, 'fs.read', { path: 'missing' });
  t.equal(failed.status, 'failure');
  t.notOk('outputs' in failed, 'no outputs are better than outputs that are none');
  for (const tool of ['run.python', 'fs.read']) {
    const running = await world.start(sessionId, 'run.command', { command: ['sleep', '60'] });
    const other = await world.start(sessionId, 'run.command', { command: ['sleep', '60'] });
    const args = tool === 'fs.read' ? { path: 'a/b.txt' } : { code: 'print(1)' };
    const queued = await world.submit(sessionId, tool, args);
    for (const { taskId } of [queued, running, other])
      await world.call('POST', `/v1/tasks/${taskId}/cancel`, { reason: 'enough' });
    await world.call('GET', `/v1/tasks/${queued.taskId}`);
  }
  await world.call('POST', `/v1/sessions/${sessionId}/checkpoints`, { name: 'one' });
  socket.send({ op: 'nothing' });
  await socket.message('stream.error');
  await world.call('DELETE', `/v1/sessions/${sessionId}?force=true`);
  const events = await eventsOf(world, sessionId);
  t.equal(await socket.closed, 1000);
  t.equal(socket.events().length, events.length);
  t.ok(await sse.ended);
  t.equal(sse.events().length, events.length);
  await dashboard.message('stream.head');
  const ended = events.filter(({ type }) => type === 'task.ended');
  t.equal(ended.length, calls.length + 7, 'each task once');
  await world.call('GET', `/v1/sessions/${sessionId}/tasks?limit=200`);
});
