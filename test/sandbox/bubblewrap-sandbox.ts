// One sandbox through its life: its agent comes and goes, dies, is frozen, closed and removed.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import t from 'tap';
import type { Limiter, LimitGroup } from '../../src/sandbox/limits/limits.js';
import { NoCgroup } from '../../src/sandbox/limits/no-cgroup.js';
import { until } from '../helpers/event-client.js';
import {
  agentPid,
  childrenOf,
  FORK_AWAY,
  MIB,
  run,
  sandboxSpec,
  start,
  startDriver,
} from '../helpers/sandboxes.js';

const driver = await startDriver(t);
const hasCgroup = driver.isolation.limits.cgroup !== null;
const isRoot = process.getuid?.() === 0;
const sandbox = await driver.create(sandboxSpec());
const never = new AbortController().signal;

t.test('secrets of the service are in no /proc/PID/environ', async (t) => {
  process.env.CODEGEN_TEST_SECRET = 'do not tell';
  t.teardown(() => delete process.env.CODEGEN_TEST_SECRET);
  const other = await driver.create(sandboxSpec());
  const code =
    'import glob\nfor p in glob.glob("/proc/[0-9]*/environ"):\n    try: print(p, open(p).read())\n    except OSError as e: print(e)';
  t.notMatch((await run(other, code)).stdout, 'do not tell');
  await other.remove();
});

t.test(
  'a program is confined: no capabilities, a filter, no new privileges, a limit on its files',
  async (t) => {
    const { stdout } = await run(
      sandbox,
      'import re, resource as r\ns = open("/proc/self/status").read()\nprint(*re.findall(r"(?:Cap(?:Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp):\\t(\\w+)", s))\nprint(*[r.getrlimit(x) for x in (r.RLIMIT_NOFILE, r.RLIMIT_FSIZE, r.RLIMIT_CORE)])\nprint(open("/proc/self/oom_score_adj").read())',
    );
    const none = '0000000000000000';
    t.equal(
      stdout,
      `${none} ${none} ${none} ${none} 1 2\n(512, 512) (${64 * MIB}, ${64 * MIB}) (0, 0)\n800\n\n`,
    );
  },
);

t.test(
  'memory beyond the limit ends the program and not its sandbox',
  { skip: !hasCgroup && 'no cgroup' },
  async (t) => {
    const pid = await agentPid(sandbox);
    const { end } = await run(sandbox, 'b = []\nwhile True: b.append(bytearray(4 << 20))');
    t.match(end, { how: { kind: 'signaled', signal: 'SIGKILL' }, limit: 'outOfMemory' });
    const less = await run(sandbox, 'b = bytearray(128 << 20); print("fits")', { memoryBytes: 64 * MIB });
    t.match(less.end, { limit: 'outOfMemory' });
    t.equal((await run(sandbox, 'b = bytearray(128 << 20); print("fits")')).stdout, 'fits\n');
    t.equal(await agentPid(sandbox), pid, 'the same agent');
  },
);

t.test('when the sandbox dies its programs are told so, and the next one finds a new one', async (t) => {
  const running = start(sandbox, 'import time; print("up", flush=True); time.sleep(60)');
  await running.said('up');
  process.kill(await agentPid(sandbox), 'SIGKILL');
  t.match((await running.ran).end.how, { kind: 'sandboxDied' });
  t.equal((await run(sandbox, ['echo', 'again'])).stdout, 'again\n');
});

t.test('files that planted code would like to run as the agent are never read by it', async (t) => {
  const other = await driver.create(sandboxSpec());
  const plant = `
import os, sys
for name in ("json", "os", "struct", "select", "ctypes", "sitecustomize", "usercustomize", "keeper"):
    open(name + ".py", "w").write("open('/workspace/ran-' + __name__, 'w')")
open(sys.prefix + "/lib/python%d.%d/site-packages/evil.pth" % sys.version_info[:2], "w").write("import os; open('/workspace/ran-pth-' + str(os.getpid()), 'w')\\n")
`;
  await run(other, plant);
  process.kill(await agentPid(other), 'SIGKILL');
  await until(async () => (await childrenOf(other)).length === 0);
  // It may not have been noticed yet that the agent is gone.
  await until(async () => (await run(other, ['true'])).end.how.kind === 'exited');
  await other.files.stat('.', never);
  const { entries } = await other.files.list('.', { recursive: false, limit: 100 }, never);
  t.same(
    entries.filter(({ name }) => name.startsWith('ran-')),
    [],
  );
  await other.remove();
});

t.test('a workspace without rights is usable for each program and each file operation', async (t) => {
  const other = await driver.create(sandboxSpec());
  await other.files.write('kept', Buffer.from('kept'), { createDirs: false, append: false }, never);
  const acl = `import os, struct
entries = ((1, 0, -1), (2, 0, os.getuid()), (4, 0, -1), (0x10, 0, -1), (0x20, 0, -1))
acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
try: os.setxattr("/workspace", "system.posix_acl_access", acl)
except OSError: os.chmod("/workspace", 0)`;
  for (const spoil of [
    'import os; os.chmod("/workspace", 0)',
    'import os; os.chmod("/workspace", 0o7655)',
    acl,
  ]) {
    await run(other, spoil);
    t.match(await run(other, 'print(open("kept").read())'), { stdout: 'kept\n' });
    await run(other, spoil);
    t.match(await run(other, ['cat', 'kept']), { stdout: 'kept' });
    await run(other, spoil);
    t.match(await other.files.stat('kept', never), { type: 'file' });
    await run(other, spoil);
    await other.files.write('new', Buffer.from('new'), { createDirs: false, append: false }, never);
    await run(other, spoil);
    t.same((await other.files.list('.', { recursive: false, limit: 9 }, never)).unreadableCount, 0);
  }
  await other.remove();
});

t.test('a workspace without rights for its owner is mended for the next sandbox', async (t) => {
  const other = await driver.create(sandboxSpec());
  await run(other, ['chmod', '000', '/workspace']);
  process.kill(await agentPid(other), 'SIGKILL');
  await until(async () => (await run(other, ['echo', 'x'])).stdout === 'x\n');
  t.pass('it runs again');
  await other.remove();
});

t.test('a frozen sandbox holds still, also for those who want to end a program', async (t) => {
  const other = await driver.create(sandboxSpec());
  t.equal(await other.freeze(), 'idle');
  await other.thaw();
  const ticking = start(
    other,
    'import time\nprint("up", flush=True)\nwhile True:\n    open("ticks", "a").write("x"); time.sleep(.001)',
  );
  await ticking.said('up');
  t.equal(await other.freeze(), hasCgroup ? 'frozen' : 'stopped');
  const size = async () => {
    for await (const entry of other.readTree(never)) {
      if (entry.type === 'file' && entry.path.toString() === 'ticks') return entry.sizeBytes;
    }
    return undefined;
  };
  const before = await size();
  ticking.exec.end(0);
  t.equal(await size(), before);
  await other.thaw();
  t.match((await ticking.ran).end, { how: { kind: 'signaled' }, processesKilled: 1 });
  await other.remove();
});

t.test('an unused sandbox gives its processes back, and comes again when it is wanted', async (t) => {
  const quick = await startDriver(t, { agentIdleMs: 50 });
  const other = await quick.create(sandboxSpec({ env: { KEPT: 'env' } }));
  // It outlasts the idle time, which does not count while something runs.
  const busy = await run(other, 'import time; time.sleep(.3); open("f", "w").write("file"); print(1)');
  t.equal(busy.stdout, '1\n');
  await until(async () => (await childrenOf(other)).length === 0);
  t.equal((await run(other, ['sh', '-c', 'echo $KEPT $(cat f)'])).stdout, 'env file\n');
});

t.test('programs that are alone in a sandbox run like others, and leave nothing', async (t) => {
  const egress = { allow: [], mayBePrivate: [] };
  const alone = await run(sandbox, `${FORK_AWAY}\nprint(os.getpid())`, { egress });
  t.match(alone, { stdout: '2\n', end: { how: { kind: 'exited', exitCode: 0 }, processesKilled: 3 } });
  const hurried = start(sandbox, 'import time; print("up", flush=True); time.sleep(60)', { egress });
  await hurried.said('up');
  hurried.exec.end(0);
  t.match((await hurried.ran).end, { how: { kind: 'signaled', signal: 'SIGKILL' }, processesKilled: 1 });
});

t.test('`python -m pip` and `pip` are there in every program', async (t) => {
  // pip is unpacked in the background after the start.
  t.match(
    await until(async () => (await run(sandbox, ['pip', '--version'])).stdout || undefined),
    /^pip .* from \/run\/pip\//,
  );
  t.match((await run(sandbox, ['python', '-m', 'pip', '--version'])).stdout, /^pip .* from \/run\/pip\//);
});

t.test('closing ends everything, and a closed sandbox starts nothing', async (t) => {
  const other = await driver.create(sandboxSpec());
  const running = start(other, `${FORK_AWAY}\nprint("up", flush=True); time.sleep(60)`);
  await running.said('up');
  const pids = await childrenOf(other);
  t.ok(pids.length > 0);
  await Promise.all([other.close(), other.close()]);
  t.match((await running.ran).end.how, { kind: 'sandboxDied' });
  for (const pid of pids) t.notOk(existsSync(`/proc/${pid}`));
  t.match((await run(other, ['true'])).end.how, { kind: 'sandboxDied', message: /closed/ });
  await t.rejects(other.warm(), { message: /closed/ });
  await other.remove();
});

t.test('a thaw or an end that failed is tried again, and nothing starts in between', async (t) => {
  const failing = new Set<string>();
  const limiter = failingLimiter(failing);
  const other = await (await startDriver(t, { limiter })).create(sandboxSpec());
  const running = start(other, 'import time\nprint("up", flush=True)\ntime.sleep(60)');
  await running.said('up');
  t.equal(await other.freeze(), 'stopped');
  failing.add('thaw');
  await t.rejects(other.thaw(), { message: 'thaw failed' });
  await t.rejects(other.freeze(), { message: /frozen already/ }, 'it is known to be frozen still');
  failing.delete('thaw');
  failing.add('kill');
  await t.rejects(other.remove(), { message: 'kill failed' });
  t.match((await running.ran).end.how, { kind: 'sandboxDied' });
  t.match((await run(other, ['true'])).end.how, { kind: 'sandboxDied', message: /closed/ });
  t.ok(allWorkspaces().includes(other.id), 'the workspace is there as long as something may run in it');
  failing.delete('kill');
  await other.remove();
  t.notOk(allWorkspaces().includes(other.id));
});

t.test('removing takes the workspace away, whatever is in it', async (t) => {
  const other = await driver.create(sandboxSpec());
  await run(
    other,
    'import os\nd = b"a\\xff\\n"\nfor _ in range(40):\n    os.mkdir(d); os.chdir(d)\nopen("f", "w").close()\nos.chdir("/workspace"); os.chmod(d, 0); os.chmod("/workspace", 0)',
  );
  await other.remove();
  await other.remove();
  t.notOk(allWorkspaces().includes(other.id));
});

t.test('without root all sandboxes share the service’s uid, and as root none does', async (t) => {
  t.equal(sandbox.uid === null, !isRoot);
  t.not(sandbox.uid, 0);
});

/** Limits without cgroups whose groups fail in what is named in `failing`. */
function failingLimiter(failing: ReadonlySet<string>): Limiter {
  const limiter = new NoCgroup();
  const { create } = limiter;
  return Object.assign(limiter, {
    async create(): Promise<LimitGroup> {
      const group = await create();
      for (const name of ['thaw', 'kill'] as const) {
        const done = group[name].bind(group) as () => Promise<void>;
        Object.assign(group, {
          [name]: async () => {
            if (failing.has(name)) throw new Error(`${name} failed`);
            await done();
          },
        });
      }
      return group;
    },
  });
}

function allWorkspaces(): string[] {
  // What other tests take away under its eyes makes it fail, and is none of ours.
  return spawnSync('find', ['/run', '/tmp', '-maxdepth', '4', '-name', 'test_*'], { encoding: 'utf8' })
    .stdout.split('\n')
    .map((path) => path.split('/').at(-1)!);
}
