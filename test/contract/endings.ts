// The contract of endings (docs/endings.md): every cause, seen from outside. It can be pointed at any implementation:
// CODEGEN_CONTRACT_URL=http://… CODEGEN_CONTRACT_KEY=… node build/test/contract/endings.js
import { kill } from 'node:process';
import t, { type Test } from 'tap';
import { agentAbove } from '../helpers/agents.js';
import { type ContractTask, endOf, openContract, pagesOf, type Watched } from '../helpers/contract.js';
import { linesIn, processesNamed, until } from '../helpers/world.js';

const contract = await openContract(t);
const ours = contract.process ? {} : { skip: 'needs the processes of the service' };
const { body: isolation } = await contract.call<{ limits: { cgroup: string | null } }>(
  'GET',
  '/v1/isolation',
);
const cgroup = isolation.limits.cgroup ? {} : { skip: 'needs a cgroup' };

/** Prints, and stays. */
const STAYS = 'import time; print("before", flush=True); time.sleep(600)';
/** With a child that takes no SIGTERM. */
const STUBBORN = `import os, signal, time
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("before", flush=True)
time.sleep(600)`;
const BEFORE = 'before\n';
/** Its main process goes at the SIGTERM, and takes the child along: nothing has to be hurried before all is counted. */
const UNHURRIED = { killGraceMs: 4000 };

const python = (sessionId: string, code: string, more?: object) =>
  contract.submit(sessionId, 'run.python', { code }, more);

/** What it has printed so far has been stored. */
const hasPrinted = (taskId: string) =>
  until(async () => linesIn(await pagesOf(contract, `/v1/tasks/${taskId}`)) > 0);

/** One true ending: said once, last of its task, and the same wherever one looks; with the output as it was. */
async function proveEnding(
  t: Test,
  taskId: string,
  expected: { status: string; ending: object; stdout?: string },
  watched?: Watched,
): Promise<ContractTask> {
  const task = await endOf(contract, taskId);
  t.match(task, { status: expected.status, ending: expected.ending });
  t.ok(task.ending.message.length > 10, 'it says what happened');
  if ('killMs' in expected.ending) t.ok(task.ending.killMs! >= 0);

  const events = await pagesOf(contract, `/v1/tasks/${taskId}`);
  t.equal(events.filter(({ type }) => type === 'task.ended').length, 1, 'one task.ended');
  const ended = events.at(-1)!;
  t.equal(ended.type, 'task.ended', 'last of its task');
  t.equal(ended.seq, task.lastSeq);
  t.equal(events[0]!.seq, task.firstSeq);
  t.strictSame(ended.data.status, task.status);
  t.strictSame(ended.data.ending, task.ending);
  t.strictSame(ended.data.usage, task.usage);
  const ofSession = await pagesOf(contract, `/v1/sessions/${task.sessionId}`);
  t.strictSame(
    ofSession.filter((event) => event.taskId === taskId),
    events,
    'the session tells the same',
  );
  t.strictSame(
    ofSession.map(({ seq }) => seq),
    ofSession.map((_, index) => index + 1),
    'numbers without holes',
  );

  const { sse, socket } = watched ?? contract.watch(t, taskId);
  const [fromSse, fromSocket] = await Promise.all([sse, socket]);
  t.strictSame(
    fromSse.map((text) => JSON.parse(text)),
    events,
    'SSE',
  );
  t.strictSame(fromSocket, fromSse, 'WebSocket, byte for byte');

  if (expected.stdout !== undefined) {
    const printed = events.filter(({ type, data }) => type === 'task.output' && data.stream === 'stdout');
    t.equal(printed.map(({ data }) => data.text).join(''), expected.stdout);
    const { body } = await contract.call<string>('GET', `/v1/tasks/${taskId}/output/stdout`);
    t.equal(body, expected.stdout);
    t.ok(task.usage.outputBytes >= expected.stdout.length);
  }
  return task;
}

t.test('finished: a tool without a process did its work', async (t) => {
  const sessionId = await contract.session();
  const taskId = await contract.submit(sessionId, 'echo', { message: 'x' });
  const task = await proveEnding(t, taskId, { status: 'success', ending: { cause: 'finished' } });
  t.match(task, { outputs: { message: 'x' }, usage: { outputBytes: 0 } });
});

t.test('exited: 0 is success, everything else is failure', async (t) => {
  const sessionId = await contract.session();
  const done = await python(sessionId, 'print("before")');
  const task = await proveEnding(t, done, {
    status: 'success',
    ending: { cause: 'exited', exitCode: 0 },
    stdout: BEFORE,
  });
  t.match(task.outputs, { exitCode: 0, stdout: BEFORE, stderr: '', stdoutTruncated: false });
  t.match(task.usage, { cpuMs: Number, peakMemoryBytes: Number, outputBytes: BEFORE.length });
  const failed = await python(sessionId, 'print("before"); exit(7)');
  await proveEnding(t, failed, {
    status: 'failure',
    ending: { cause: 'exited', exitCode: 7 },
    stdout: BEFORE,
  });
});

t.test('exited: what the main process leaves behind is killed and counted', async (t) => {
  const sessionId = await contract.session();
  const taskId = await python(
    sessionId,
    'import os, time\nif os.fork() == 0:\n    os.setsid(); time.sleep(600)\nprint("before")',
  );
  const ending = { cause: 'exited', exitCode: 0, processesKilled: 1 };
  await proveEnding(t, taskId, { status: 'success', ending, stdout: BEFORE });
});

t.test('signaled: by its name, without an exit code', async (t) => {
  const sessionId = await contract.session();
  const taskId = await python(sessionId, 'import os; print("before", flush=True); os.kill(os.getpid(), 11)');
  const ending = { cause: 'signaled', signal: 'SIGSEGV' };
  const task = await proveEnding(t, taskId, { status: 'failure', ending, stdout: BEFORE });
  t.match(task.outputs, { exitCode: null });
  t.equal(task.ending.exitCode, undefined);
});

t.test('timedOut: the whole tree goes, and it says how many that were and how long it took', async (t) => {
  const sessionId = await contract.session();
  const taskId = await python(sessionId, STUBBORN, { constraints: { ...UNHURRIED, timeoutSeconds: 4 } });
  const watched = contract.watch(t, taskId);
  const ending = { cause: 'timedOut', signal: 'SIGTERM', processesKilled: 2, killMs: Number };
  await proveEnding(t, taskId, { status: 'timeout', ending, stdout: BEFORE }, watched);
});

t.test('outOfMemory: the limit is the cause, not the signal', cgroup, async (t) => {
  const sessionId = await contract.session({ limits: { memoryMb: 64 } });
  const taskId = await python(
    sessionId,
    'print("before", flush=True); x = []\nwhile True: x.append(b"x" * (1 << 20))',
  );
  await proveEnding(t, taskId, { status: 'failure', ending: { cause: 'outOfMemory' }, stdout: BEFORE });
});

t.test('outputLimit: exactly what fits is kept', async (t) => {
  const sessionId = await contract.session();
  const taskId = await python(sessionId, 'while True: print("y" * 99)', {
    constraints: { maxOutputBytes: 1000 },
  });
  const stdout = `${'y'.repeat(99)}\n`.repeat(10);
  const ending = { cause: 'outputLimit', processesKilled: Number, killMs: Number };
  const task = await proveEnding(t, taskId, { status: 'failure', ending, stdout });
  t.equal(task.usage.outputBytes, 1000);
});

t.test('diskLimit: a file larger than the workspace may be', async (t) => {
  const sessionId = await contract.session({ limits: { diskMb: 10 } });
  const command = 'echo before; exec truncate -s 20M big';
  const taskId = await contract.submit(sessionId, 'run.command', { command });
  await proveEnding(t, taskId, { status: 'failure', ending: { cause: 'diskLimit' }, stdout: BEFORE });
});

t.test('toolError: with the code of the tool', async (t) => {
  const sessionId = await contract.session();
  const taskId = await contract.submit(sessionId, 'fs.read', { path: 'nowhere' });
  const ending = { cause: 'toolError', code: 'FILE_NOT_FOUND' };
  await proveEnding(t, taskId, { status: 'failure', ending });
});

t.test('spawnFailed: no exit code is made up', async (t) => {
  const sessionId = await contract.session();
  const taskId = await contract.submit(sessionId, 'run.command', { command: ['no-such-program'] });
  const ending = { cause: 'spawnFailed', code: String };
  const task = await proveEnding(t, taskId, { status: 'failure', ending });
  t.match(task.outputs, { exitCode: null });
  t.equal(task.ending.exitCode, undefined);
});

t.test('cancelled: the reply comes with the numbers when all of it is gone', async (t) => {
  const sessionId = await contract.session();
  const taskId = await python(sessionId, STUBBORN, { constraints: UNHURRIED });
  const watched = contract.watch(t, taskId);
  await hasPrinted(taskId);
  const { status, body } = await contract.call<Record<string, unknown>>(
    'POST',
    `/v1/tasks/${taskId}/cancel`,
    { reason: 'enough' },
  );
  t.equal(status, 200);
  t.match(body, { cancelled: true, processesKilled: 2, tookMs: Number, task: { status: 'cancelled' } });
  const ending = {
    cause: 'cancelled',
    reason: 'enough',
    signal: 'SIGTERM',
    processesKilled: 2,
    killMs: Number,
  };
  const task = await proveEnding(t, taskId, { status: 'cancelled', ending, stdout: BEFORE }, watched);
  t.strictSame((body.task as ContractTask).ending, task.ending);
  const again = await contract.call<object>('POST', `/v1/tasks/${taskId}/cancel`, {});
  t.match(again, { status: 200, body: { cancelled: false, processesKilled: 0 } });
});

t.test('cancelled: how a program that heeds SIGTERM goes is told, and changes nothing', async (t) => {
  const sessionId = await contract.session();
  const taskId = await python(
    sessionId,
    'import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\nprint("before", flush=True)\ntime.sleep(600)',
    { constraints: { killGraceMs: 10_000 } },
  );
  await hasPrinted(taskId);
  await contract.call('POST', `/v1/tasks/${taskId}/cancel`, {});
  const ending = { cause: 'cancelled', exitCode: 0, killMs: Number };
  await proveEnding(t, taskId, { status: 'cancelled', ending, stdout: BEFORE });
});

t.test('cancelled: a task that waits never starts', async (t) => {
  const sessionId = await contract.session();
  const first = await python(sessionId, STAYS);
  const taskId = await python(sessionId, STAYS);
  await contract.call('POST', `/v1/tasks/${taskId}/cancel`, {});
  const task = await proveEnding(t, taskId, {
    status: 'cancelled',
    ending: { cause: 'cancelled' },
    stdout: '',
  });
  t.equal(task.startedAt, null);
  await contract.call('POST', `/v1/tasks/${first}/cancel`, {});
});

t.test('sessionEnded: what runs and what waits, before the reply to the delete', async (t) => {
  const sessionId = await contract.session();
  const running = await python(sessionId, STUBBORN, { constraints: UNHURRIED });
  const waiting = await python(sessionId, STAYS);
  const watched = contract.watch(t, running);
  await hasPrinted(running);
  const deleted = await contract.call<object>('DELETE', `/v1/sessions/${sessionId}?force=true`);
  t.match(deleted, { status: 200, body: { state: 'terminated' } });
  const ending = { cause: 'sessionEnded', processesKilled: 2, killMs: Number };
  await proveEnding(t, running, { status: 'cancelled', ending, stdout: BEFORE }, watched);
  await proveEnding(t, waiting, { status: 'cancelled', ending: { cause: 'sessionEnded' }, stdout: '' });
});

t.test('sandboxDied: the next task of the session has a new one, and the workspace', ours, async (t) => {
  const sessionId = await contract.session();
  const taskId = await python(
    sessionId,
    `import ctypes; open("kept", "w").write("yes"); ctypes.CDLL(None).prctl(15, b"cw-contract", 0, 0, 0)\n${STAYS}`,
  );
  const watched = contract.watch(t, taskId);
  await hasPrinted(taskId);
  const [pid] = await processesNamed('cw-contract');
  kill(await agentAbove(Number(pid)), 'SIGKILL');
  const ending = { cause: 'sandboxDied', processesKilled: Number };
  await proveEnding(t, taskId, { status: 'failure', ending, stdout: BEFORE }, watched);
  const next = await python(sessionId, 'print(open("kept").read())');
  await proveEnding(t, next, { status: 'success', ending: { cause: 'exited' }, stdout: 'yes\n' });
});

for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
  t.test(`interrupted: the service was ended by ${signal}; what waited runs afterwards`, ours, async (t) => {
    const sessionId = await contract.session();
    const running = await python(sessionId, STAYS);
    const waiting = await python(sessionId, 'print("before")');
    await hasPrinted(running);
    await contract.restart(signal);
    const ending = { cause: 'interrupted' };
    await proveEnding(t, running, { status: 'failure', ending, stdout: BEFORE });
    await proveEnding(t, waiting, { status: 'success', ending: { cause: 'exited' }, stdout: BEFORE });
  });
}
