import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { VERSION } from '../src/lib/version.js';
import type { IsolationReport } from '../src/sandbox/sandbox.js';
import { emptyDirectory } from './helpers/directory.js';
import { openSocket, openSse, until } from './helpers/event-client.js';
import { startProcess } from './helpers/service-process.js';

/** One for all: what a service prepares in a fresh directory takes it seconds. */
const DATA_DIR = emptyDirectory(t);

const start = (t: Test, settings: Record<string, string> = {}) => startProcess(t, DATA_DIR, settings);

t.test('it says where it listens, serves, and SIGTERM ends it with 0', async (t) => {
  const service = start(t);
  const { address, ...facts } = await service.line('listening');
  t.match(await (await fetch(`${address}/healthz`)).json(), { status: 'alive' });
  const { level, limits } = (await (await fetch(`${address}/v1/isolation`)).json()) as IsolationReport;
  t.match(facts, { version: VERSION, isolation: level, dataDir: DATA_DIR });
  t.match(facts.limits, { cgroup: limits.cgroup, disk: limits.disk });
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

t.test(
  'a signal at any moment of the start ends it with 0, and the next start finds nothing amiss',
  async (t) => {
    // There as long as the store is open.
    const storeIsOpen = () => until(() => stat(`${DATA_DIR}/store.db-wal`).catch(() => false));
    const whole = start(t);
    await storeIsOpen();
    const openAt = performance.now();
    await whole.line('listening');
    const startMs = performance.now() - openAt;
    whole.child.kill('SIGTERM');
    t.equal(await whole.exited, 0);
    for (const part of [0, 0.4, 0.8]) {
      const service = start(t);
      await storeIsOpen();
      await sleep(part * startMs);
      service.child.kill('SIGTERM');
      t.equal(await service.exited, 0, `after ${part} of it`);
      t.equal(service.stderr(), '');
    }
    const next = start(t);
    await next.line('listening');
    next.child.kill('SIGTERM');
    t.equal(await next.exited, 0);
  },
);

t.test('SIGTERM: nothing new, tasks end within the grace, readers get the end and 1001', async (t) => {
  const service = start(t, { SHUTDOWN_GRACE_SECONDS: '60' });
  const { address } = await service.line('listening');
  const { sessionId, taskId } = await startTask(address!, 'print(input(), flush=True)', { stdinOpen: true });
  const events = `/v1/sessions/${sessionId}/events`;
  const socket = openSocket(t, `ws${address!.slice(4)}${events}`);
  const stream = openSse(t, `${address}${events}`);
  await socket.message('task.started');
  const silent = connect(Number(new URL(address!).port), '127.0.0.1');
  await once(silent, 'connect');
  service.child.kill('SIGTERM');
  await service.line('closing');
  const refused = await post(`${address}/v1/sessions/${sessionId}/tasks`, {
    tool: 'echo',
    arguments: { message: '' },
  });
  t.match(refused, { status: 503, body: { code: 'SHUTTING_DOWN' } });
  t.equal((await post(`${address}/v1/sessions`, {})).status, 503);
  socket.send({ op: 'stdin', taskId, text: 'last words\n' });
  t.equal(await socket.closed, 1001);
  t.equal(await stream.ended, true);
  const ended = socket
    .events()
    .map((line) => JSON.parse(line))
    .find(({ type }) => type === 'task.ended');
  t.match(ended, { data: { status: 'success', outputs: { stdout: 'last words\n' } } });
  t.same(stream.events(), socket.events());
  t.equal(await service.exited, 0);
});

const STUBBORN = `import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('ready', flush=True)
while True: time.sleep(1)`;

t.test(
  'a second signal hurries: a task that takes no hint is killed and ends as interrupted, exit code 0',
  async (t) => {
    const service = start(t, { SHUTDOWN_GRACE_SECONDS: '60' });
    const { address } = await service.line('listening');
    const { taskId } = await startTask(address!, STUBBORN, {});
    const socket = openSocket(t, `ws${address!.slice(4)}/v1/tasks/${taskId}/events`);
    await socket.message('task.output');
    service.child.kill('SIGTERM');
    await service.line('closing');
    const signals = setInterval(() => service.child.kill('SIGTERM'), 600);
    await service.line('second signal: tasks get no more time');
    clearInterval(signals);
    t.equal(await socket.closed, 1000, 'its stream is complete');
    t.match(await socket.message('task.ended'), {
      data: { ending: { cause: 'interrupted', processesKilled: 1 } },
    });
    t.equal(await service.exited, 0);
  },
);

t.test('a third signal leaves at once: exit code 1', async (t) => {
  const service = start(t, { SHUTDOWN_GRACE_SECONDS: '60' });
  const { address } = await service.line('listening');
  const { taskId } = await startTask(address!, STUBBORN, {}, { killGraceMs: 10_000 });
  const socket = openSocket(t, `ws${address!.slice(4)}/v1/tasks/${taskId}/events`);
  await socket.message('task.output');
  const signals = setInterval(() => service.child.kill('SIGTERM'), 600);
  await service.line('third signal: leaving at once');
  clearInterval(signals);
  t.equal(await service.exited, 1);
  // What it had no time to take away is taken away by the next one.
  const next = start(t);
  await next.line('listening');
  next.child.kill('SIGTERM');
  t.equal(await next.exited, 0);
});

async function post(url: string, body: unknown): Promise<{ status: number; body: Record<string, unknown> }> {
  const headers = { 'content-type': 'application/json' };
  const reply = await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) });
  return { status: reply.status, body: (await reply.json()) as Record<string, unknown> };
}

async function startTask(address: string, code: string, args: object, constraints: object = {}) {
  const { sessionId } = (await post(`${address}/v1/sessions`, {})).body as { sessionId: string };
  const body = { tool: 'run.python', arguments: { code, ...args }, constraints };
  const task = await post(`${address}/v1/sessions/${sessionId}/tasks`, body);
  return { sessionId, taskId: task.body.taskId as string };
}
