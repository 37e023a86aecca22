// kill -9 of the service at some moment under work, again and again: what was acknowledged is there afterwards.
import type { Test } from 'tap';
import type { Event } from '../../src/events/schema.js';
import type { Task } from '../../src/tasks/schema.js';
import { startProcess } from './service-process.js';
import { processesNamed, until } from './world.js';

const PROCESS_NAME = 'cw-killed';
const PRINTER = `import ctypes, time
ctypes.CDLL(None).prctl(15, b"${PROCESS_NAME}", 0, 0, 0)
for n in range(100000): print(n, flush=True); time.sleep(.002)`;

/** Runs so many rounds on one data directory and checks the promises after each and at the end. */
export async function killRounds(t: Test, dataDir: string, rounds: number): Promise<void> {
  const seen: Event[] = [];
  const accepted: string[] = [];
  const call = async <T>(url: string, method: string, path: string, body?: unknown): Promise<T> => {
    const reply = await fetch(url + path, {
      method,
      ...(body ? { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) } : {}),
    });
    if (!reply.ok) throw new Error(`${method} ${path}: ${reply.status} ${await reply.text()}`);
    return (await reply.json()) as T;
  };
  const readOn = async (url: string) => {
    const after = seen.at(-1)?.seq ?? 0;
    const page = await call<{ events: Event[] }>(
      url,
      'GET',
      `/v1/sessions/killed/events?after=${after}&wait=1`,
    );
    seen.push(...page.events);
    return page.events.length;
  };
  const submit = async (url: string, code: string) => {
    const body = { tool: 'run.python', arguments: { code } };
    const task = await call<Task>(url, 'POST', '/v1/sessions/killed/tasks', body);
    accepted.push(task.taskId);
    return task.taskId;
  };

  for (let round = 0; round < rounds; round += 1) {
    const service = startProcess(t, dataDir);
    const { address } = await service.line('listening');
    const url = address!;
    if (round === 0) await call(url, 'POST', '/v1/sessions', { sessionId: 'killed' });
    // What the last run had accepted ends before anything new begins.
    for (const taskId of accepted.slice(-2)) {
      const task = await call<Task>(url, 'GET', `/v1/tasks/${taskId}?wait=30`);
      const printer = (task.arguments as { code: string }).code === PRINTER;
      t.equal(task.ending?.cause, printer ? 'interrupted' : 'exited', `round ${round}: ${taskId}`);
    }
    await submit(url, PRINTER);
    await submit(url, `print("queued in round ${round}")`);
    const enough = seen.length + 5 + ((round * 7919) % 40);
    while (seen.length < enough) await readOn(url);
    service.child.kill('SIGKILL');
    await service.exited;
    await until(async () => (await processesNamed(PROCESS_NAME)).length === 0);
  }

  const last = startProcess(t, dataDir);
  const url = (await last.line('listening')).address!;
  await call(url, 'GET', `/v1/tasks/${accepted.at(-1)}?wait=30`);
  while ((await readOn(url)) > 0);
  const whole: Event[] = [];
  for (;;) {
    const after = whole.at(-1)?.seq ?? 0;
    const { events } = await call<{ events: Event[] }>(
      url,
      'GET',
      `/v1/sessions/killed/events?after=${after}&limit=1000`,
    );
    if (events.length === 0) break;
    whole.push(...events);
  }
  t.same(seen, whole, 'a reader that went on after each kill has exactly the journal');
  t.same(
    whole.map((event) => event.seq),
    whole.map((_, index) => index + 1),
    'numbers without holes',
  );
  for (const taskId of accepted) {
    const own = whole.filter((event) => 'taskId' in event && event.taskId === taskId);
    t.equal(own.filter((event) => event.type === 'task.ended').length, 1, `${taskId} ended once`);
    t.equal(own.at(-1)?.type, 'task.ended', `${taskId} has nothing after its end`);
  }
  last.child.kill('SIGTERM');
  t.equal(await last.exited, 0);
}
