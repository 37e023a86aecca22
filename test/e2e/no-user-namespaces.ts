// The service on hosts that give bubblewrap less than it likes: what it says, and what it runs.
import { chmod, chown, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { IsolationReport } from '../../src/sandbox/sandbox.js';
import { isHostRoot } from '../../src/sandbox/uids.js';
import type { Task } from '../../src/tasks/schema.js';
import { emptyDirectory } from '../helpers/directory.js';
import { type Host, noOtherHosts, ORDINARY_UID, THIS_HOST, userHost } from '../helpers/hosts.js';
import { startProcess } from '../helpers/service-process.js';
import { until } from '../helpers/world.js';

const isRoot = isHostRoot(process.getuid!(), await readFile('/proc/self/uid_map', 'utf8'));
const skip = noOtherHosts || (isRoot ? false : 'needs root of the host');

/** As an ordinary user; the setting of a user namespace of its own says that there may be no more. */
const NONE_ALLOWED: Host = (() => {
  const host = userHost(THIS_HOST);
  const forbid = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"';
  return {
    ...host,
    prefix: [...host.prefix, 'unshare', '--user', '--map-root-user', 'sh', '-ec', forbid, 'sh'],
  };
})();

/** A filter as Docker's: the kernel refuses new user namespaces, to root as well. Only root sets one so simply. */
const REFUSE = `
import ctypes, os, platform, struct, sys
CLONE, UNSHARE, CLONE3 = {"x86_64": (56, 272, 435), "aarch64": (220, 97, 435)}[platform.machine()]
EPERM, ENOSYS, ALLOW, NEWUSER = 0x50001, 0x50026, 0x7FFF0000, 0x10000000
code = [
    (0x20, 0, 0, 0), (0x15, 5, 0, CLONE3), (0x15, 1, 0, CLONE), (0x15, 0, 2, UNSHARE),
    (0x20, 0, 0, 16), (0x45, 2, 0, NEWUSER), (0x06, 0, 0, ALLOW), (0x06, 0, 0, ENOSYS), (0x06, 0, 0, EPERM),
]
filter = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in code))
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]
program = Program(len(code), ctypes.addressof(filter))
if ctypes.CDLL(None, use_errno=True).prctl(22, ctypes.c_ulong(2), ctypes.byref(program), 0, 0): raise OSError
os.execvp(sys.argv[1], sys.argv[1:])
`;
const REFUSED: Host = { ...THIS_HOST, prefix: ['/usr/bin/python3', '-I', '-S', '-c', REFUSE] };

/** As in a container, something of /proc is covered, so the kernel lets no user namespace mount another. */
const MASKED: Host = {
  ...THIS_HOST,
  prefix: [
    ...['unshare', '--mount', '--propagation', 'private', 'sh', '-ec'],
    'mount --bind /dev/null /proc/kallsyms; exec "$@"',
    'sh',
  ],
};

interface Answer {
  readonly status: number;
  readonly text: string;
}

function caller(address: string) {
  return async (path: string, body?: unknown): Promise<Answer> => {
    const init = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) };
    const response = await fetch(address + path, {
      headers: { 'content-type': 'application/json' },
      ...init,
    });
    return { status: response.status, text: await response.text() };
  };
}

async function service(t: Test, host: Host, settings: Record<string, string> = {}) {
  const parent = await mkdtemp(join(tmpdir(), 'codegen-worker-test-'));
  t.teardown(() => rm(parent, { recursive: true, force: true }));
  await chmod(parent, 0o755);
  if (host === NONE_ALLOWED) await chown(parent, ORDINARY_UID, ORDINARY_UID);
  const { line } = startProcess(t, join(parent, 'data'), settings, host);
  const { address } = await line('listening');
  const call = caller(address!);
  const isolation = JSON.parse((await call('/v1/isolation')).text) as IsolationReport;
  return { call, isolation };
}

t.test(
  'no-user-namespaces: as an ordinary user the service starts, refuses tasks and names the fix',
  { skip },
  async (t) => {
    const { call, isolation } = await service(t, NONE_ALLOWED);
    t.equal(isolation.level, null);
    t.equal(isolation.enforced, null);
    t.match(isolation.tried, [
      { level: 'full', ok: false },
      { level: 'oneshot', ok: false },
      { level: 'noProc', ok: false },
    ]);
    const fix = /max_user_namespaces=0.*sysctl -w user\.max_user_namespaces=/;
    t.match((await call('/healthz')).status, 200);
    for (const answer of [await call('/readyz'), await call('/v1/sessions', { sessionId: 's' })]) {
      t.equal(answer.status, 503, answer.text);
      t.match(answer.text, /ISOLATION_UNAVAILABLE/);
      t.match(answer.text, fix);
    }
    t.match((await call('/metrics')).text, 'codegen_worker_isolation{level="none"} 1');
  },
);

async function runsAt(t: Test, level: string, host: Host, settings: Record<string, string> = {}) {
  const { call, isolation } = await service(t, host, settings);
  t.equal(isolation.level, level, JSON.stringify(isolation.missing));
  t.match(await call('/readyz'), { status: 200, text: level });
  const session = await call('/v1/sessions', { sessionId: 's' });
  t.match(session, { status: 201, text: `"isolation":"${level}"` });
  const task = { tool: 'run.python', arguments: { code: 'import os; print(os.getuid(), 6 * 7)' } };
  const ran = await call('/v1/sessions/s/tasks?wait=60', task);
  t.match(ran.text, /"status":"success"/);
  t.match((await call('/metrics')).text, `codegen_worker_isolation{level="${level}"} 1`);
  return { isolation, stdout: JSON.parse(ran.text).outputs.stdout as string };
}

t.test(
  'no-user-namespaces: real root runs tasks at rootNoUserns, says so, and what would mend it',
  { skip },
  async (t) => {
    const { isolation, stdout } = await runsAt(t, 'rootNoUserns', REFUSED);
    const [uid, answer] = stdout.trim().split(' ').map(Number);
    t.ok(uid! >= 200_000, 'a uid of its own, not root');
    t.equal(answer, 42);
    t.notOk(isolation.enforced?.namespaces.includes('user'));
    t.ok(isolation.missing[0]!.fix.length > 20, JSON.stringify(isolation.missing));
  },
);

t.test(
  'masked-proc: no stronger level is taken for one that holds, and noProc is used only when allowed',
  { skip },
  async (t) => {
    const { isolation } = await service(t, MASKED, { ISOLATION_MAX: 'noProc', ISOLATION_MIN: 'noProc' });
    t.equal(isolation.level, 'noProc');
    const tried = await service(t, MASKED, { ISOLATION_MIN: 'oneshot', ISOLATION_MAX: 'oneshot' });
    t.match(tried.isolation, {
      level: null,
      tried: [{ level: 'oneshot', ok: false, detail: /proc/ }],
    });
    await runsAt(t, 'noProc', MASKED, { ISOLATION_MIN: 'noProc', ISOLATION_MAX: 'noProc' });
  },
);

t.test(
  'killed, and started where no isolation can be had: what ran ends as interrupted, what waited runs when it can',
  { skip },
  async (t) => {
    const dataDir = emptyDirectory(t);
    const first = startProcess(t, dataDir);
    const before = caller((await first.line('listening')).address!);
    await before('/v1/sessions', { sessionId: 's' });
    const run = async (code: string) => {
      const { text } = await before('/v1/sessions/s/tasks', { tool: 'run.python', arguments: { code } });
      return (JSON.parse(text) as Task).taskId;
    };
    const running = await run('import time\nprint("begun", flush=True)\ntime.sleep(600)');
    const waiting = await run('print("at last")');
    await until(async () => (await before(`/v1/tasks/${running}/output/stdout`)).text === 'begun\n');
    first.child.kill('SIGKILL');
    await first.exited;

    const second = startProcess(t, dataDir, { ISOLATION_MIN: 'full' }, MASKED);
    const without = caller((await second.line('listening')).address!);
    const interrupted = JSON.parse((await without(`/v1/tasks/${running}`)).text) as Task;
    t.match(interrupted, {
      status: 'failure',
      ending: { cause: 'interrupted' },
      usage: { outputBytes: 6 },
    });
    t.match(JSON.parse((await without(`/v1/tasks/${waiting}`)).text), { status: 'queued' });
    t.match(await without('/v1/sessions/s/tasks', { tool: 'echo', arguments: { message: 'x' } }), {
      status: 503,
      text: /ISOLATION_UNAVAILABLE/,
    });
    second.child.kill('SIGTERM');
    t.equal(await second.exited, 0);

    const third = startProcess(t, dataDir);
    const after = caller((await third.line('listening')).address!);
    const ran = JSON.parse((await after(`/v1/tasks/${waiting}?wait=60`)).text) as Task;
    t.match(ran, { status: 'success', outputs: { stdout: 'at last\n' } });
    t.same(JSON.parse((await after(`/v1/tasks/${running}`)).text), interrupted);
  },
);
