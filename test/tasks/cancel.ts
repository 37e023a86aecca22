import t from 'tap';
import type { Session } from '../../src/sessions/schema.js';
import type { CancelResult, Task } from '../../src/tasks/schema.js';
import { agentAbove } from '../helpers/agents.js';
import { dataOnFreezingDisk, isStuck, noDisk } from '../helpers/frozen-disk.js';
import { startProcess } from '../helpers/service-process.js';
import { eventsOf, linesIn, processesNamed, startService, until, type World } from '../helpers/world.js';

/** Gives the process, and what it forks, a name by which the host finds them. */
const named = (name: string) => `import ctypes, os, signal, sys, time
ctypes.CDLL(None).prctl(15, b"${name}", 0, 0, 0)
`;

const cancel = (world: World, taskId: string) =>
  world.call<CancelResult>('POST', `/v1/tasks/${taskId}/cancel`, {});

/** A task that has printed and goes on. */
async function running(world: World, code: string, session: Record<string, unknown> = {}) {
  const { sessionId } = await world.session(session);
  const { taskId } = await world.submit(sessionId, 'run.python', { code });
  await until(async () => linesIn(await eventsOf(world, sessionId)) > 0);
  return { sessionId, taskId };
}

t.test('whatever a task does, a cancel is answered when nothing of it is left', async (t) => {
  const world = await startService(t);
  const { body } = await world.call<{ limits: { cgroup: string | null } }>('GET', '/v1/isolation');
  /** When the keeper of a tree has no time to count, the kernel knows how many there are, where it has a group for them. */
  const least = (count: number) => (body.limits.cgroup ? count : 1);
  const cases: [title: string, name: string, code: string, atLeast: number][] = [
    [
      'it ignores every signal that can be ignored',
      'cw-deaf',
      `for n in range(1, 65):
    try: signal.signal(n, signal.SIG_IGN)
    except (OSError, ValueError): pass
print("up", flush=True)
while True: time.sleep(600)`,
      1,
    ],
    [
      'it is stopped',
      'cw-stopped',
      `child = os.fork()
if child == 0:
    while True: time.sleep(600)
os.kill(child, signal.SIGSTOP)
print("up", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)`,
      2,
    ],
    [
      'it forks as fast as it can',
      'cw-forks',
      `print("up", flush=True)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    try: os.fork()
    except OSError: pass`,
      2,
    ],
    [
      'its daemons have left its process group and its session, and hold its output',
      'cw-daemons',
      `signal.signal(signal.SIGTERM, signal.SIG_IGN)
for n in range(5):
    if os.fork() == 0:
        os.setsid()
        if os.fork() != 0: os._exit(0)
        while True: time.sleep(600)
print("up", flush=True)
time.sleep(600)`,
      5,
    ],
  ];
  for (const [title, name, code, atLeast] of cases) {
    t.test(title, async (t) => {
      const limits = { maxProcesses: 64 };
      const { sessionId, taskId } = await running(world, named(name) + code, { limits });
      t.ok((await processesNamed(name)).length > 0);
      const { status, body } = await cancel(world, taskId);
      t.equal(status, 200, 'in less than the 5 s after which it would be KILL_PENDING');
      t.same(await processesNamed(name), [], 'nothing of it is left when the reply comes');
      t.ok(body.processesKilled >= least(atLeast), `${body.processesKilled} killed`);
      t.match(body.task, {
        status: 'cancelled',
        ending: { cause: 'cancelled' },
        outputs: { stdout: 'up\n' },
      });
      t.match(await world.run(sessionId, 'echo', { message: 'on' }), { status: 'success' });
      await world.call('DELETE', `/v1/sessions/${sessionId}`);
    });
  }
});

t.test(
  'an agent that hangs: the cancel ends the sandbox, and the session goes on with a new one',
  async (t) => {
    const world = await startService(t);
    const name = 'cw-hung';
    const other = await running(
      world,
      'import time\nfor n in range(1000): print(n, flush=True); time.sleep(.01)',
    );
    const { sessionId, taskId } = await running(
      world,
      `${named(name)}open("kept", "w").write("yes"); print("up", flush=True); time.sleep(600)`,
    );
    const [pid] = await processesNamed(name);
    process.kill(await agentAbove(Number(pid)), 'SIGSTOP');
    const { status, body } = await cancel(world, taskId);
    t.equal(status, 200, 'in less than the 5 s after which it would be KILL_PENDING');
    t.same(await processesNamed(name), []);
    t.match(body.task.ending, { cause: 'cancelled', signal: 'SIGKILL' });
    t.ok(body.processesKilled >= 1);
    t.equal(await world.readFile(sessionId, 'kept'), 'yes');
    t.match(
      await world.call('GET', `/v1/tasks/${other.taskId}`),
      { body: { status: 'running' } },
      'others notice nothing',
    );
  },
);

t.test('an agent that is killed: its tasks end as sandboxDied, others notice nothing', async (t) => {
  const world = await startService(t);
  const name = 'cw-bereft';
  const waits = 'import time; print("up", flush=True); time.sleep(600)';
  const other = await running(world, waits);
  const { sessionId, taskId } = await running(world, named(name) + waits);
  const beside = await world.submit(sessionId, 'run.python', { code: waits }, { background: true });
  await until(async () => linesIn(await eventsOf(world, sessionId)) === 2);
  const next = await world.submit(sessionId, 'run.command', { command: ['echo', 'next'] });
  const [pid] = await processesNamed(name);
  process.kill(await agentAbove(Number(pid)), 'SIGKILL');
  for (const id of [taskId, beside.taskId]) {
    const { body } = await world.call<Task>('GET', `/v1/tasks/${id}?wait=30`);
    t.match(body, { status: 'failure', ending: { cause: 'sandboxDied' }, outputs: { stdout: 'up\n' } });
  }
  t.match(await world.call('GET', `/v1/tasks/${next.taskId}?wait=30`), {
    body: { status: 'success', outputs: { stdout: 'next\n' } },
  });
  t.match(await world.call('GET', `/v1/sessions/${sessionId}`), { body: { state: 'ready' } });
  t.match(await world.call('GET', `/v1/tasks/${other.taskId}`), { body: { status: 'running' } });
});

t.test(
  'a process that waits for a dead disk cannot be killed, and nobody says that it was',
  { skip: noDisk() },
  async (t) => {
    const { dataDir, freeze } = dataOnFreezingDisk(t);
    const service = startProcess(t, dataDir, { DISK_LIMIT: 'watcher' });
    const url = (await service.line('listening')).address!;
    const call = async <T>(method: string, path: string, body?: unknown) => {
      const reply = await fetch(url + path, {
        method,
        ...(body ? { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) } : {}),
      });
      return { status: reply.status, body: (await reply.json()) as T };
    };
    const name = 'cw-frozen';
    const { sessionId } = (await call<Session>('POST', '/v1/sessions', {})).body;
    const code = `${named(name)}while True: open("x", "a").write("x"); print("up", flush=True); time.sleep(.05)`;
    const { taskId } = (
      await call<Task>('POST', `/v1/sessions/${sessionId}/tasks`, { tool: 'run.python', arguments: { code } })
    ).body;
    const [pid] = await until(async () => {
      const found = await processesNamed(name);
      return found.length > 0 && found;
    });
    freeze(true);
    await until(() => isStuck(Number(pid)));
    const [cancelled, deleted] = await Promise.all([
      call('POST', `/v1/tasks/${taskId}/cancel`, {}),
      call('DELETE', `/v1/sessions/${sessionId}?force=true`),
    ]);
    const pending = { status: 503, body: { code: 'KILL_PENDING', retryable: true } };
    t.match(cancelled, pending);
    t.match(deleted, pending);
    t.same(await processesNamed(name), [pid], 'it is there');
    t.match(await call('GET', `/v1/tasks/${taskId}?wait=4`), { body: { status: 'running', endedAt: null } });
    t.match(await call('GET', `/v1/sessions/${sessionId}`), { body: { state: 'terminating' } });

    freeze(false);
    const ended = (await call<Task>('GET', `/v1/tasks/${taskId}?wait=60`)).body;
    t.match(ended, { status: 'cancelled', ending: { cause: /cancelled|sessionEnded/, signal: 'SIGKILL' } });
    t.ok(ended.ending!.processesKilled! >= 1);
    t.ok(ended.ending!.killMs! > 5000);
    t.same(await processesNamed(name), []);
    t.match(await call('DELETE', `/v1/sessions/${sessionId}?force=true`), {
      status: 200,
      body: { state: 'terminated' },
    });
    service.child.kill('SIGTERM');
    t.equal(await service.exited, 0);
  },
);
