// Sessions and tasks by the hundred, some killed midway: afterwards the host is as it was.

import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { instanceOf } from '../../src/sandbox/host-directories.js';
import { groupName } from '../../src/sandbox/limits/group.js';
import { emptyDirectory } from './directory.js';
import { processesBelow, runsNothingMore } from './processes.js';
import { startProcess } from './service-process.js';
import { type Client, clientOf, until } from './world.js';

const ENDLESS = 'import time; print("here", flush=True); time.sleep(600)';
/** Each leaves something behind if it is let. */
const PROGRAMS = [
  'print("done")',
  'import os, time\nfor _ in range(5):\n    if os.fork() == 0: os.setsid(); time.sleep(600)',
  ENDLESS,
  'import socket, tempfile, os\ns = socket.socket(socket.AF_UNIX); s.bind("/workspace/s%d" % os.getpid()); s.listen()\nopen(tempfile.mktemp(), "w").write("x" * 1000)\nraise SystemExit(3)',
  'import os; os.mkfifo("/workspace/f%d" % os.getpid()); os.kill(os.getpid(), 11)',
];

interface Host {
  /** Its process id. */
  readonly service: number;
  readonly dataDir: string;
  readonly runtime: string;
  readonly instance: string;
}

/** What of the service is on the host, by kind. */
function onTheHost({ service, dataDir, runtime, instance }: Host): Record<string, readonly string[]> {
  const descriptors = readdirSync(`/proc/${service}/fd`).map((fd) => {
    try {
      return readlinkSync(`/proc/${service}/fd/${fd}`).replace(/\[\d+\]/, '');
    } catch {
      return 'gone';
    }
  });
  // The copy of pip is made in the background, now and then in the middle of a look.
  const sandboxes = join(dataDir, 'sandboxes');
  const files = [
    ...list(sandboxes).filter((name) => name !== 'pip'),
    ...(readdirSync(join(sandboxes, 'workspaces'), { recursive: true }) as string[]),
  ];
  return {
    processes: processesBelow(service).map(({ name }) => name),
    mounts: readFileSync(`/proc/${service}/mountinfo`, 'utf8')
      .split('\n')
      .filter((line) => line.includes(dataDir) || line.includes(runtime)),
    // HTTP connections of this test come and go.
    descriptors: descriptors.filter((each) => each !== 'socket:' && each !== 'gone').sort(),
    groups: groupsOf(service, instance),
    files,
    sockets: list(join(runtime, 'egress')),
  };
}

const list = (path: string) => {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
};

/** The service's control groups, below those that it is in. Other services of this machine have theirs beside them. */
function groupsOf(service: number, instance: string): string[] {
  const found: string[] = [];
  for (const line of readFileSync(`/proc/${service}/cgroup`, 'latin1').trim().split('\n')) {
    const [, controllers = '', path = '/'] = line.split(':');
    const mount = controllers === '' ? ['', 'unified'] : [controllers, controllers.replace('name=', '')];
    for (const name of mount) {
      const own = join('/sys/fs/cgroup', name, path, groupName('codegen-worker', instance));
      found.push(...list(own).filter((each) => each.startsWith('sandbox-')));
    }
  }
  return found;
}

export async function testLeftovers(t: Test, counts: { tasks: number; sessions: number }): Promise<void> {
  const dataDir = emptyDirectory(t);
  const instance = await instanceOf(dataDir);
  const uid = process.getuid!();
  const runtime =
    uid === 0 ? `/run/codegen-worker-${instance}` : join(tmpdir(), `codegen-worker-${uid}-${instance}`);
  const service = startProcess(t, dataDir, { MAX_SESSIONS: '20', SPARE_SANDBOXES: '0' });
  const { address } = await service.line('listening');
  const client = clientOf(() => address!);
  const pid = service.child.pid!;
  const host = { service: pid, dataDir, runtime, instance };

  // One session comes and goes first: what is made once and kept is there before we look.
  await useSession(client, 3, 0);
  await until(async () => runsNothingMore(pid));
  const before = onTheHost(host);

  const perSession = Math.ceil(counts.tasks / counts.sessions);
  let next = 0;
  const worker = async () => {
    while (next < counts.sessions) {
      const number = next;
      next += 1;
      await useSession(client, perSession, number);
    }
  };
  await Promise.all(Array.from({ length: 4 }, worker));

  await until(async () => runsNothingMore(pid));
  t.same(onTheHost(host), before);
  const { body } = await client.call<{ active: number }>('GET', '/v1/capacity');
  t.equal(body.active, 0, 'every slot is free again');
  service.child.kill('SIGTERM');
  t.equal(await service.exited, 0);
  t.notOk(existsSync(runtime), 'what was only of this run');
}

/** `number` says what happens to its tasks, and how it ends. */
async function useSession(client: Client, tasks: number, number: number): Promise<void> {
  const { sessionId } = await client.session({ limits: { memoryMb: 128, maxProcesses: 32 }, concurrency: 4 });
  const submitted: { taskId: string; isEndless: boolean }[] = [];
  for (let n = 0; n < tasks; n += 1) {
    const code = PROGRAMS[(n + number) % PROGRAMS.length]!;
    const { taskId } = await client.submit(
      sessionId,
      'run.python',
      { code },
      { constraints: { killGraceMs: 0 } },
    );
    submitted.push({ taskId, isEndless: code === ENDLESS });
  }
  await client.run(sessionId, 'fs.write', { path: 'a/b', contents: 'x' }, { background: true });
  // Some sessions end under what runs; of the others the endless ones are cancelled.
  if (number % 3 !== 0) {
    for (const { taskId, isEndless } of submitted) {
      if (isEndless) await client.call('POST', `/v1/tasks/${taskId}/cancel`, {});
      else await client.call('GET', `/v1/tasks/${taskId}?wait=60`);
    }
  }
  const reply = await client.call('DELETE', `/v1/sessions/${sessionId}?force=true`);
  if (reply.status !== 200) throw new Error(`DELETE: ${reply.status} ${JSON.stringify(reply.body)}`);
}
