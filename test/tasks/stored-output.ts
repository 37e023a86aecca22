import t from 'tap';
import type { Task } from '../../src/tasks/schema.js';
import { startService, until, type World } from '../helpers/world.js';

const print = (text: string, times = 1) => `import sys\nsys.stdout.write(${JSON.stringify(text)} * ${times})`;

/** The status of a request for the first byte that the task printed. */
const firstByte = async (world: World, taskId: string) =>
  (await world.call('GET', `/v1/tasks/${taskId}/output/stdout`, undefined, { range: 'bytes=0-0' })).status;

/** Waits until retention has removed all that the task printed. */
const untilRemoved = (world: World, taskId: string) =>
  until(async () => (await firstByte(world, taskId)) === 410);

t.test('what retention has removed is said, wherever it was, and the record stays true', async (t) => {
  const world = await startService(t, {
    SESSION_RETENTION_BYTES: '335000',
    MAX_SESSION_STORED_BYTES: '10000000',
  });
  const { sessionId } = await world.session();
  // Of the second task and of the ends all is left: only as much goes as has to.
  const written = await world.writeFile(sessionId, 'a.txt', 'a');
  const first = await world.python(sessionId, print('first ', 50_000));
  const second = await world.python(sessionId, print('2', 290_000));
  await untilRemoved(world, first.taskId);
  const { body: task } = await world.call<Task>('GET', `/v1/tasks/${first.taskId}`);
  t.match(task, {
    status: 'success',
    ending: { cause: 'exited', exitCode: 0 },
    usage: { outputBytes: 300_000 },
    outputs: { stdoutBytes: 300_000, stdoutTruncated: true, stderr: '', stderrTruncated: false },
    firstSeq: first.firstSeq,
    lastSeq: first.lastSeq,
  });
  t.match(task.outputs!.stdout, /^… the first 300000 bytes were removed by retention …/);
  const url = `/v1/tasks/${first.taskId}/output/stdout`;
  t.match(await world.call('GET', url), {
    status: 410,
    body: { code: 'OUTPUT_REMOVED', firstByte: 300_000, sizeBytes: 300_000, outcome: 'notStarted' },
  });
  t.match(await world.call('GET', url, undefined, { range: 'bytes=300000-' }), { status: 416 });
  t.match(await world.call('GET', `/v1/tasks/${first.taskId}/output/stderr`), { status: 200, body: '' });
  t.match(await world.call('GET', `/v1/tasks/${written.taskId}`), {
    body: { status: 'success', outputs: undefined, outputsRemoved: true },
  });
  t.match(await world.call('GET', `/v1/tasks/${second.taskId}`), {
    body: { outputs: { stdoutBytes: 290_000, stdoutTruncated: false }, outputsRemoved: undefined },
  });
  const { body: page } = await world.call('GET', `/v1/sessions/${sessionId}/events`);
  t.match(page, { gap: { from: 1 }, events: [{ seq: (page as { gap: { to: number } }).gap.to + 1 }] });
  t.match(await world.call('GET', `/v1/tasks/${first.taskId}/events`), {
    body: { gap: { from: first.firstSeq }, nextAfter: first.lastSeq },
  });
});

t.test('of output whose beginning was removed the rest is there', async (t) => {
  const world = await startService(t, {
    SESSION_RETENTION_BYTES: '2000000',
    MAX_SESSION_STORED_BYTES: '100000000',
  });
  const { sessionId } = await world.session();
  const text = 'abcdefghij';
  const { taskId } = await world.python(sessionId, print(text, 400_000));
  const url = `/v1/tasks/${taskId}/output/stdout`;
  const { body: problem } = await until(async () => {
    const reply = await world.call('GET', url, undefined, { range: 'bytes=0-0' });
    return reply.status === 410 && reply;
  });
  const { firstByte } = problem as { firstByte: number };
  t.ok(firstByte > 0 && firstByte < 4_000_000, `from ${firstByte} on`);
  t.match(problem, { suggestion: `Ask for what is left with Range: bytes=${firstByte}-.` });
  const rest = await world.call<unknown>('GET', url, undefined, { range: 'bytes=-100005' });
  t.equal(rest.status, 206);
  t.equal(rest.body, `fghij${text.repeat(10_000)}`);
  t.equal((await world.call('GET', url, undefined, { range: `bytes=${firstByte - 1}-` })).status, 410);
  const { body: task } = await world.call<Task>('GET', `/v1/tasks/${taskId}`);
  t.match(task.outputs, { stdoutBytes: 4_000_000, stdoutTruncated: true });
  t.match(
    task.outputs!.stdout,
    /^… the first \d+ bytes were removed by retention, \d+ more are left out …\n/,
  );
  t.ok(String(task.outputs!.stdout).endsWith(text));
});

t.test(
  'a session that holds all it may ends the task that prints more, and says whose limit it is',
  async (t) => {
    const world = await startService(t, {
      SESSION_RETENTION_BYTES: '1000000',
      MAX_SESSION_STORED_BYTES: '3000000',
    });
    const { sessionId } = await world.session();
    // What it printed is kept while it runs.
    const holder = await world.submit(
      sessionId,
      'run.python',
      { code: `${print('h', 2_000_000)}; sys.stdout.flush()\nimport time; time.sleep(600)` },
      { background: true },
    );
    const output = `/v1/tasks/${holder.taskId}/output/stdout`;
    await until(async () => String((await world.call<unknown>('GET', output)).body).length === 2_000_000);
    const over = await world.python(sessionId, print('o', 2_000_000));
    t.match(over, {
      status: 'failure',
      ending: { cause: 'outputLimit', limitBytes: 3_000_000, message: /session holds the 3000000 bytes/ },
    });
    const kept = Number(over.outputs!.stdoutBytes);
    t.ok(kept > 900_000 && kept < 1_000_000, `${kept} bytes fitted`);
    t.equal(over.outputs!.stdout, 'o'.repeat(kept));
    t.match(await world.call('POST', `/v1/tasks/${holder.taskId}/cancel`, {}), { status: 200 });
    await untilRemoved(world, holder.taskId);
    await until(async () => (await world.python(sessionId, print('o', 1_500_000))).status === 'success');
  },
);
