import { once } from 'node:events';
import { createServer } from 'node:net';
import t, { type Test } from 'tap';
import { startProcess } from './helpers/service-process.js';

/** One for all: what a service prepares in a fresh directory takes it seconds. */
const DATA_DIR = t.testdir();

const start = (t: Test, settings: Record<string, string> = {}) => startProcess(t, DATA_DIR, settings);

t.test('it says where it listens, serves, and SIGTERM ends it with 0', async (t) => {
  const service = start(t);
  const { address } = await service.line('listening');
  t.match(await (await fetch(`${address}/healthz`)).json(), { status: 'alive' });
  service.child.kill('SIGTERM');
  await service.line('closed');
  t.equal(await service.exited, 0);
});

t.test('a port that is taken is a reason one can read, and exit code 1', async (t) => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  t.teardown(() => other.close());
  const { port } = other.address() as { port: number };
  const service = start(t, { PORT: String(port) });
  t.equal(await service.exited, 1);
  t.match(service.stderr(), `port ${port} of 127.0.0.1 is in use`);
});

t.test('a second service on the same data does not start, and says why', async (t) => {
  const first = start(t);
  await first.line('listening');
  const second = start(t);
  t.equal(await second.exited, 1);
  t.match(second.stderr(), /cannot start:\n {2}\S/);
  first.child.kill('SIGTERM');
  t.equal(await first.exited, 0);
});

t.test('wrong settings end the start before anything is opened', async (t) => {
  const service = start(t, { HOST: '0.0.0.0', MAX_SESSIONS: 'many' });
  t.equal(await service.exited, 1);
  t.match(service.stderr(), /MAX_SESSIONS=many: must be integer/);
});

t.test('a second signal hurries: exit code 1', async (t) => {
  const service = start(t, { SHUTDOWN_GRACE_SECONDS: '60' });
  const { address } = await service.line('listening');
  const json = { 'content-type': 'application/json' };
  const created = await fetch(`${address}/v1/sessions`, { method: 'POST', headers: json, body: '{}' });
  const { sessionId } = (await created.json()) as { sessionId: string };
  const body = JSON.stringify({ tool: 'run.command', arguments: { command: ['sleep', '60'] } });
  await fetch(`${address}/v1/sessions/${sessionId}/tasks`, { method: 'POST', headers: json, body });
  service.child.kill('SIGTERM');
  await service.line('closing');
  service.child.kill('SIGTERM');
  await service.line('second signal, leaving at once');
  t.equal(await service.exited, 1);
});
