// kill -9 of the service at some moment under work, again and again, with readers on every transport that come back:
// what was acknowledged is there afterwards, and nobody saw anything twice or missed it.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Test } from 'tap';
import type { Event } from '../../src/events/schema.js';
import type { Task } from '../../src/tasks/schema.js';
import { Follower, TRANSPORTS } from './follower.js';
import { brokenRules } from './journal-rules.js';
import { startProcess } from './service-process.js';
import { processesNamed, until } from './world.js';

const SESSION = 'killed';
const PROCESS_NAME = 'cw-killed';
/** Every program notes that it runs, under a name of its own. */
const noted = (name: string) => `open("runs", "a").write("${name}\\n")\n`;
const PRINTER = `import ctypes, time
ctypes.CDLL(None).prctl(15, b"${PROCESS_NAME}", 0, 0, 0)
for n in range(100000): print(n, flush=True); time.sleep(.002)`;
/** Every so many rounds a run is killed while it still starts. */
const KILLED_IN_START = 3;

const isPrinter = (task: Task) => String((task.arguments as { code?: string }).code).includes(PRINTER);

/** Runs so many rounds on one data directory and checks the promises after each and at the end. */
export async function killRounds(t: Test, dataDir: string, rounds: number): Promise<void> {
  let url: string | undefined;
  const accepted: string[] = [];
  const readers = TRANSPORTS.map(
    (transport) => new Follower({ transport, sessionId: SESSION, url: () => url }),
  );
  t.teardown(() => Promise.all(readers.map((reader) => reader.stop())));
  const call = async <T>(method: string, path: string, body?: unknown): Promise<T> => {
    const reply = await fetch(url + path, {
      method,
      ...(body ? { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) } : {}),
    });
    if (!reply.ok) throw new Error(`${method} ${path}: ${reply.status} ${await reply.text()}`);
    return (await reply.json()) as T;
  };
  const submit = async (tool: string, args: object, more: object = {}) => {
    const body = { tool, arguments: args, ...more };
    const { taskId } = await call<Task>('POST', `/v1/sessions/${SESSION}/tasks`, body);
    accepted.push(taskId);
  };
  /** Submits one after the other until the service is gone; the one that got no answer is sent again to the next run. */
  let echoes = 0;
  const submitUntilGone = async () => {
    for (;;) {
      const more = { taskId: `echo-${echoes}`, background: true };
      await submit('echo', { message: 'still here' }, more);
      echoes += 1;
    }
  };
  const start = async () => {
    const service = startProcess(t, dataDir);
    url = (await service.line('listening')).address;
    return service;
  };

  const endOf = (taskId: string, startedAt: number) =>
    until(async () => {
      const found = await call<Task>('GET', `/v1/tasks/${taskId}?wait=1`);
      // A printer that the last run had not started when it was killed has started now, and would print for long.
      const isNew = found.status === 'running' && Date.parse(found.startedAt!) >= startedAt;
      if (isNew && isPrinter(found)) await call('POST', `/v1/tasks/${taskId}/cancel`, {});
      return found.ending && found;
    });

  for (let round = 0; round < rounds; round += 1) {
    if (round % KILLED_IN_START === KILLED_IN_START - 1) {
      const starting = startProcess(t, dataDir);
      await sleep(((round * 7919) % 17) * 50);
      starting.child.kill('SIGKILL');
      await starting.exited;
    }
    const startedAt = Date.now();
    const service = await start();
    if (round === 0) await call('POST', '/v1/sessions', { sessionId: SESSION });
    // What the last run had accepted ends before anything new begins.
    for (const taskId of accepted.slice(-20)) {
      const task = await endOf(taskId, startedAt);
      const causes = isPrinter(task) ? ['interrupted', 'cancelled'] : ['exited', 'finished', 'interrupted'];
      const { cause } = task.ending!;
      t.ok(causes.includes(cause), `round ${round}: ${taskId} ${cause}`);
    }
    await submit('run.python', { code: noted(`printer ${round}`) + PRINTER });
    await submit('run.python', { code: `${noted(`queued ${round}`)}print("queued in round ${round}")` });
    const submitting = submitUntilGone().catch(() => {});
    const enough = Math.max(...readers.map(({ after }) => after)) + 5 + ((round * 7919) % 40);
    await until(async () => readers.every(({ after }) => after >= enough));
    service.child.kill('SIGKILL');
    url = undefined;
    await Promise.all([service.exited, submitting]);
    await until(async () => (await processesNamed(PROCESS_NAME)).length === 0);
  }

  const lastStart = Date.now();
  const last = await start();
  for (const taskId of accepted) await endOf(taskId, lastStart);
  const { outputs } = await call<Task>('POST', `/v1/sessions/${SESSION}/tasks?wait=30`, {
    tool: 'fs.read',
    arguments: { path: 'runs' },
  });
  const runs = String(outputs?.contents).trimEnd().split('\n');
  t.same(
    runs.filter((name, at) => runs.indexOf(name) !== at),
    [],
    'nothing has run twice',
  );
  await call('DELETE', `/v1/sessions/${SESSION}?force=true`);
  await Promise.all(readers.map((reader) => reader.finished));
  const journal: Event[] = [];
  for (;;) {
    const after = journal.at(-1)?.seq ?? 0;
    const path = `/v1/sessions/${SESSION}/events?after=${after}&limit=1000`;
    const { events } = await call<{ events: Event[] }>('GET', path);
    if (events.length === 0) break;
    journal.push(...events);
  }
  t.same(brokenRules(journal), [], 'the journal is what it must be');
  const lines = journal.map((event) => JSON.stringify(event)).join('\n');
  for (const { transport, lines: seen, visits } of readers) {
    t.ok(seen.join('\n') === lines, `${transport} saw exactly the journal`);
    t.ok(visits > rounds, `${transport} came back after each kill`);
  }
  const ended = journal
    .filter(({ type }) => type === 'task.ended')
    .map((event) => (event as { taskId: string }).taskId);
  t.same(
    accepted.filter((taskId) => !ended.includes(taskId)),
    [],
    'every accepted task has ended',
  );
  last.child.kill('SIGTERM');
  t.equal(await last.exited, 0);
}
