// The service is told to stop while a program waits for a disk that does not answer.
import t from 'tap';
import type { Session } from '../../src/sessions/schema.js';
import type { Task } from '../../src/tasks/schema.js';
import { dataOnFreezingDisk, isStuck, noDisk } from '../helpers/frozen-disk.js';
import { startProcess } from '../helpers/service-process.js';
import { processesNamed, until } from '../helpers/world.js';

/** What the service gives the tasks that it ends, and then itself, with SHUTDOWN_GRACE_SECONDS=0. */
const LEAVES_WITHIN_MS = 20_000;

const NAME = 'cw-frozen-stop';
const PRINTER = `import ctypes, time
ctypes.CDLL(None).prctl(15, b"${NAME}", 0, 0, 0)
while True: open("x", "a").write("x"); print("up", flush=True); time.sleep(.05)`;

t.test(
  'it leaves in bounded time, says what it could not kill, and the next start tells the truth',
  { skip: noDisk() },
  async (t) => {
    const { dataDir, freeze } = dataOnFreezingDisk(t);
    const start = async () => {
      const service = startProcess(t, dataDir, { DISK_LIMIT: 'watcher' });
      const { address } = await service.line('listening');
      const call = async <T>(method: string, path: string, body?: unknown) => {
        const headers = { 'content-type': 'application/json' };
        const reply = await fetch(address + path, {
          method,
          ...(body ? { headers, body: JSON.stringify(body) } : {}),
        });
        return (await reply.json()) as T;
      };
      return { ...service, call };
    };
    const first = await start();
    const { sessionId } = await first.call<Session>('POST', '/v1/sessions', {});
    const tasks = `/v1/sessions/${sessionId}/tasks`;
    const stuck = await first.call<Task>('POST', tasks, { tool: 'run.python', arguments: { code: PRINTER } });
    const waiting = await first.call<Task>('POST', tasks, { tool: 'echo', arguments: { message: 'later' } });
    const [pid] = await until(async () => {
      const found = await processesNamed(NAME);
      return found.length > 0 && found;
    });
    freeze(true);
    await until(() => isStuck(Number(pid)));

    const from = performance.now();
    first.child.kill('SIGTERM');
    t.equal(await first.exited, 1, 'it could not close as it should');
    const took = performance.now() - from;
    t.ok(took < LEAVES_WITHIN_MS + 5000, `after ${Math.round(took)} ms`);
    t.same((await first.line('tasks could not be killed')).taskIds, [stuck.taskId]);
    await first.line('closing took too long');
    t.same(await processesNamed(NAME), [pid], 'it is there');

    freeze(false);
    const second = await start();
    t.match(await second.call('GET', `/v1/tasks/${stuck.taskId}`), {
      status: 'failure',
      ending: { cause: 'interrupted' },
      outputs: { stdout: /^(up\n)+$/ },
    });
    t.match(await second.call('GET', `/v1/tasks/${waiting.taskId}?wait=60`), { status: 'success' });
    await until(async () => (await processesNamed(NAME)).length === 0);
    second.child.kill('SIGTERM');
    t.equal(await second.exited, 0);
  },
);
