// Sessions that are created, filled and deleted in numbers on a disk that is 80 % full, beside one session that prints:
// nobody else's end may touch it.
import type { Test } from 'tap';
import type { Task } from '../../src/tasks/schema.js';
import { emptyDirectory } from './directory.js';
import { THIS_HOST } from './hosts.js';
import { startProcess } from './service-process.js';

const DISK_MIB = 2048;
const FULL_MIB = Math.round(DISK_MIB * 0.8);
/** Written in each session, so that much waits in the page cache when it is deleted. */
const WRITTEN_MIB = 8;

/** As root: the data directory is a disk of its own, in a mount namespace that ends with the service. Goes on until
 *  `isEnough` says so; resolves with how many sessions came and went. */
export async function churnSessions(
  t: Test,
  { atOnce, isEnough }: { atOnce: number; isEnough: (sessions: number) => boolean },
): Promise<number> {
  const dataDir = emptyDirectory(t);
  const mount = [
    `truncate -s ${DISK_MIB}M "$1/disk"`,
    'mkfs.ext4 -q -m 0 "$1/disk"',
    'mkdir "$1/data"',
    'mount -o loop "$1/disk" "$1/data"',
    `fallocate -l ${FULL_MIB}M "$1/data/ballast"`,
    'shift; exec "$@"',
  ].join('; ');
  const service = startProcess(
    t,
    `${dataDir}/data`,
    { SPARE_SANDBOXES: '0' },
    {
      ...THIS_HOST,
      prefix: ['unshare', '--mount', '--propagation', 'private', 'sh', '-ec', mount, 'sh', dataDir],
    },
  );
  const { address } = await service.line('listening');
  const call = async <T>(method: string, path: string, body?: unknown) => {
    const json = body === undefined ? {} : { headers: { 'content-type': 'application/json' } };
    const reply = await fetch(address + path, { method, ...json, body: JSON.stringify(body) ?? null });
    return { status: reply.status, body: (await reply.json()) as T };
  };
  await call('POST', '/v1/sessions', { sessionId: 'printer' });
  const code = 'import time\nwhile True: print("x" * 100, flush=True); time.sleep(.05)';
  await call('POST', '/v1/sessions/printer/tasks', {
    ...{ taskId: 'print', tool: 'run.python', arguments: { code } },
    constraints: { timeoutSeconds: 86_400 },
  });

  let sessions = 0;
  const comeAndGo = async () => {
    const { status, body } = await call<{ sessionId: string }>('POST', '/v1/sessions', {});
    if (status !== 201) return t.fail('a session was refused', { status, body });
    const write = `open('data', 'wb').write(bytes(${WRITTEN_MIB} << 20)); print('written')`;
    const path = `/v1/sessions/${body.sessionId}`;
    const task = await call<Task>('POST', `${path}/tasks?wait=60`, {
      ...{ tool: 'run.python', arguments: { code: write } },
      constraints: { timeoutSeconds: 600 },
    });
    if (task.body.ending?.cause !== 'exited') t.match(task, { body: { status: 'success' } });
    t.equal((await call('DELETE', path)).status, 200);
    sessions += 1;
  };
  const oneAfterTheOther = async () => {
    while (!isEnough(sessions)) {
      await comeAndGo();
      const { body: printing } = await call<Task>('GET', '/v1/tasks/print');
      if (printing.status !== 'running') {
        t.match(printing, { status: 'running' }, `after ${sessions} sessions`);
        return;
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, oneAfterTheOther));
  t.notMatch(service.stdout(), /the disk is almost full/);
  t.match(await call('POST', '/v1/tasks/print/cancel', {}), { status: 200, body: { cancelled: true } });
  return sessions;
}
