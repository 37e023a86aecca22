// What programs, files and limits do at every level below the strongest, which the other tests run at.
import { existsSync, readFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { bubblewrapBuilder } from '../../src/sandbox/builder.js';
import type { BubblewrapDriverOptions } from '../../src/sandbox/driver.js';
import { ociBuilder } from '../../src/sandbox/oci-launcher.js';
import type { IsolationLevel, Sandbox } from '../../src/sandbox/sandbox.js';
import { isHostRoot } from '../../src/sandbox/uids.js';
import { FORK_AWAY, MIB, run, sandboxSpec, start, startDriver } from '../helpers/sandboxes.js';

const isRoot = isHostRoot(process.getuid!(), readFileSync('/proc/self/uid_map', 'utf8'));
const never = new AbortController().signal;

type Case = (t: Test, sandbox: Sandbox, level: IsolationLevel) => Promise<void>;

const CASES: Readonly<Record<string, Case>> = {
  'a program has its name, its walls and its workspace': async (t, sandbox, level) => {
    const code = `import ctypes, getpass, os, pwd
libc = ctypes.CDLL(None)
print(getpass.getuser(), pwd.getpwuid(os.getuid()).pw_dir, os.getcwd())
print(libc.prctl(21, 0, 0, 0, 0), libc.prctl(39, 0, 0, 0, 0), int(os.path.exists("/proc/self")))
print(os.stat("/workspace").st_uid == os.getuid() != 0, os.environ.get("DATA_DIR"))`;
    const { stdout, stderr } = await run(sandbox, code);
    t.equal(stdout, `sandbox /workspace /workspace\n2 1 ${level === 'noProc' ? 0 : 1}\nTrue None\n`, stderr);
  },
  'what it leaves behind is killed and counted': async (t, sandbox) => {
    const { end } = await run(sandbox, FORK_AWAY);
    t.match(end, { how: { kind: 'exited', exitCode: 0 }, processesKilled: 3 });
  },
  'it can be ended, also when it stops those who keep it': async (t, sandbox) => {
    const code = `import os, signal, time
if os.fork() == 0:
    while True: os.kill(os.getppid(), 0); time.sleep(.1)
os.kill(os.getppid(), signal.SIGSTOP)
print("up", flush=True); time.sleep(60)`;
    const running = start(sandbox, code);
    await running.said('up');
    running.exec.end(0);
    t.match((await running.ran).end.how, { kind: 'signaled', signal: 'SIGKILL' });
  },
  'programs at once do not see each other': async (t, sandbox) => {
    const code = (name: string) =>
      `import os; open("/tmp/${name}", "w"); print("up", flush=True); input(); print(os.listdir("/tmp"))`;
    const programs = ['a', 'b'].map((name) => start(sandbox, code(name), { stdinOpen: true }));
    await Promise.all(programs.map((each) => each.said('up')));
    await Promise.all(programs.map((each) => each.exec.writeStdin(Buffer.from('\n'), true)));
    const said = await Promise.all(programs.map(async (each) => (await each.ran).stdout));
    t.same(said, ["up\n['a']\n", "up\n['b']\n"]);
  },
  'its memory is bounded, and the next one works': async (t, sandbox) => {
    const { end, stderr } = await run(sandbox, 'b = []\nwhile True: b.append(bytearray(4 << 20))');
    t.ok(end.limit === 'outOfMemory' || /MemoryError/.test(stderr), JSON.stringify({ end, stderr }));
    t.equal((await run(sandbox, ['echo', 'next'])).stdout, 'next\n');
  },
  'files are written, read and listed, also where nobody may look': async (t, sandbox) => {
    const { files } = sandbox;
    await files.write('d/f', Buffer.from('old'), { createDirs: true, append: false }, never);
    await files.write('d/f', Buffer.from('text'), { createDirs: false, append: false }, never);
    t.equal((await files.read('d/f', { maxBytes: MIB }, never)).bytes.toString(), 'text');
    await run(sandbox, ['sh', '-c', 'mkdir -p x/closed/deep; touch x/closed/f; chmod 0 x/closed d/f']);
    const paths: string[] = [];
    for await (const entry of sandbox.readTree(never)) paths.push(entry.path.toString());
    for (const path of ['d/f', 'x/closed', 'x/closed/f', 'x/closed/deep']) t.ok(paths.includes(path), path);
    await files.remove('x', { recursive: true }, never);
    const { entries } = await files.list('.', { recursive: true, limit: 1000, pattern: 'x' }, never);
    t.same(entries, []);
  },
  'it can be held still': async (t, sandbox) => {
    const running = start(sandbox, 'print("up", flush=True); input(); print("on")', { stdinOpen: true });
    await running.said('up');
    t.not(await sandbox.freeze(), 'idle');
    await sandbox.thaw();
    await running.exec.writeStdin(Buffer.from('\n'), true);
    t.match(await running.ran, { stdout: 'up\non\n' });
  },
};

async function tryAll(t: Test, options: Partial<BubblewrapDriverOptions>, level: IsolationLevel) {
  const driver = await startDriver(t, { minimum: level, maximum: level, ...options });
  t.equal(driver.isolation.level, level, JSON.stringify(driver.isolation));
  const sandbox = await driver.create(sandboxSpec());
  for (const [title, test] of Object.entries(CASES)) {
    await t.test(title, (t) => test(t, sandbox, level));
  }
  await run(sandbox, ['sh', '-c', 'mkdir -p c/d; chmod 0 c/d c; chmod 0 .']);
  await sandbox.remove();
  await t.resolves(driver.close());
}

const { ways } = bubblewrapBuilder('/usr/bin/bwrap', { isRoot });
const [first] = (await startDriver(t)).isolation.tried;

for (const { level } of ways.slice(1)) {
  t.test(level, { skip: !first?.ok && `no sandbox here: ${first?.detail}` }, async (t) => {
    await tryAll(t, {}, level);
  });
}

const RUNC = '/usr/sbin/runc';
const noRuntime = !existsSync(RUNC) ? `${RUNC} is not installed` : isRoot ? false : 'needs root';

for (const level of ['oneshot', 'rootNoUserns'] as const) {
  t.test(`runc, ${level}`, { skip: noRuntime }, async (t) => {
    const builder = (host: { readonly isRoot: boolean }) => ociBuilder({ path: RUNC, args: [] }, host);
    await tryAll(t, { builder }, level);
  });
}
