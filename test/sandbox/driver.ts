// The driver on this machine: what it finds, what it keeps over a restart, and what it leaves.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
} from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { BubblewrapDriver } from '../../src/sandbox/driver.js';
import { instanceOf } from '../../src/sandbox/host-directories.js';
import { NoCgroup } from '../../src/sandbox/limits/no-cgroup.js';
import { run, sandboxSpec, start, startDriver } from '../helpers/sandboxes.js';
import { root } from '../helpers/sources.js';

const isRoot = process.getuid?.() === 0;

async function directory(t: Test): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'codegen-worker-test-'));
  t.teardown(() => rm(path, { recursive: true, force: true }));
  return path;
}

t.test('what was in a workspace is there after a restart, and what ran is not', async (t) => {
  const dataDir = await directory(t);
  const spec = sandboxSpec();
  const first = await startDriver(t, { dataDir });
  const before = await first.create(spec);
  const running = start(
    before,
    'open("kept", "w").write("yes"); print("up", flush=True); import time; time.sleep(60)',
  );
  await running.said('up');
  await first.close();
  t.match((await running.ran).end.how, { kind: 'sandboxDied' });

  const second = await startDriver(t, { dataDir });
  const after = await second.attach(spec, before.uid);
  t.equal(after.uid, before.uid);
  t.equal((await run(after, 'print(open("kept").read())')).stdout, 'yes\n');
});

t.test(
  'what still runs in a workspace is ended when it is found again, and nothing else of its uid',
  async (t) => {
    const [dataDir, elsewhere] = [await directory(t), await directory(t)];
    // Two may only use the same data when nothing of it is mounted.
    const diskLimit = 'watcher';
    const [spec, other] = [sandboxSpec(), sandboxSpec()];
    const lasting = 'print("up", flush=True)\nprint(input(), flush=True)\ninput()';
    const earlier = await (await startDriver(t, { dataDir, diskLimit })).create(spec);
    const left = start(earlier, lasting, { stdinOpen: true });
    await left.said('up');
    const neighbour = await startDriver(t, { dataDir: elsewhere, diskLimit });
    await neighbour.create(other);
    await neighbour.close();
    const inUse = join(elsewhere, 'sandboxes/workspaces', other.id, 'workspace');
    if (earlier.uid !== null) chownSync(inUse, earlier.uid, earlier.uid);

    const attached = await (await startDriver(t, { dataDir: elsewhere, diskLimit })).attach(
      other,
      earlier.uid,
    );
    t.equal((await run(attached, ['echo', 'here'])).stdout, 'here\n');
    left.exec.writeStdin(Buffer.from('alive\n'), false);
    await left.said('alive');

    await (await startDriver(t, { dataDir, diskLimit })).attach(spec, earlier.uid);
    t.match((await left.ran).end.how, { kind: 'sandboxDied' });
  },
);

t.test('workspaces that nobody knows any more are swept away, others stay', async (t) => {
  const dataDir = await directory(t);
  const [kept, lost] = [sandboxSpec(), sandboxSpec()];
  const first = await startDriver(t, { dataDir });
  const keptUid = (await first.create(kept)).uid;
  await run(await first.create(lost), ['mkdir', '-p', 'a/b/c']);
  await first.close();

  const second = await startDriver(t, { dataDir });
  await second.sweep(new Set([kept.id]));
  t.same(readdirSync(join(dataDir, 'sandboxes/workspaces')), [kept.id]);
  const again = await second.attach(kept, keptUid);
  t.equal((await run(again, ['echo', 'here'])).stdout, 'here\n');
  await t.rejects(second.attach(lost, null), { message: /is gone/ });
});

t.test(
  'what a killed service had made and not yet given away is never run in, and is no reason not to start',
  { skip: !isRoot && 'needs root' },
  async (t) => {
    const dataDir = await directory(t);
    const workspaces = join(dataDir, 'sandboxes/workspaces');
    const driver = await startDriver(t, { dataDir });
    for (const path of ['ses_empty/workspace', 'ses_full/workspace/precious']) {
      mkdirSync(join(workspaces, path), { recursive: true });
    }
    await driver.sweep(new Set());
    // A sandbox of its owner, which is root, would have removed the other as well.
    t.same(readdirSync(workspaces), ['ses_full']);
    t.ok(existsSync(join(workspaces, 'ses_full/workspace/precious')));
    await t.rejects(driver.attach(sandboxSpec({ id: 'ses_full' }), 0), { message: /belongs to root/ });
  },
);

t.test('the report says what limits rest on, and what keeps them from more', async (t) => {
  const limiter = new NoCgroup({ v2: 'not here', v1: 'nor here' });
  const watched = await startDriver(t, { limiter, diskLimit: 'watcher' });
  t.match(watched.isolation, {
    limits: { cgroup: null, disk: 'watcher' },
    missing: [{ what: /v2: not here; v1: nor here/ }],
  });
  t.equal(watched.isolation.missing.length, 1, 'the watcher was asked for');
  const best = await startDriver(t, { limiter });
  const { limits, missing } = best.isolation;
  t.equal(missing.length, limits.disk === 'watcher' ? 2 : 1);
});

t.test('closing leaves nothing of this run', async (t) => {
  const dataDir = await directory(t);
  const driver = await startDriver(t, { dataDir });
  await run(await driver.create(sandboxSpec()), ['true']);
  await Promise.all([driver.close(), driver.close()]);
  const runtime = isRoot ? '/run' : process.env.XDG_RUNTIME_DIR || tmpdir();
  const instance = await instanceOf(dataDir);
  t.notOk(readdirSync(runtime).some((name) => name.includes(instance)));
  t.notMatch(readFileSync('/proc/self/mountinfo', 'utf8'), instance);
  await t.rejects(driver.create(sandboxSpec()), { code: 'ISOLATION_UNAVAILABLE' });
});

t.test('it works in a directory that nobody else may enter', async (t) => {
  const home = await directory(t);
  chmodSync(home, 0o700);
  const driver = await startDriver(t, { dataDir: join(home, 'data') });
  const sandbox = await driver.create(sandboxSpec());
  t.equal((await run(sandbox, 'print(1)')).stdout, '1\n');
  await sandbox.files.write(
    'f',
    Buffer.from('x'),
    { createDirs: false, append: false },
    new AbortController().signal,
  );
  await sandbox.remove();
  t.same(readdirSync(join(home, 'data/sandboxes/workspaces')), []);
});

t.test('what a killed service left is cleared by the next', { skip: !isRoot && 'needs root' }, async (t) => {
  const home = await directory(t);
  chmodSync(home, 0o700);
  const dataDir = join(home, 'data');
  const code = `
    const { BubblewrapDriver } = await import(${JSON.stringify(new URL('../../src/sandbox/driver.js', import.meta.url).href)});
    const log = { info() {}, warn() {}, error() {}, debug() {} };
    const driver = new BubblewrapDriver({ dataDir: ${JSON.stringify(dataDir)}, log, minimum: 'oneshot', uids: { first: 200000, count: 65536 }, agentIdleMs: 60000 });
    await driver.start();
    process.kill(process.pid, 'SIGKILL');`;
  t.equal(spawnSync(process.execPath, ['--input-type=module', '-e', code]).signal, 'SIGKILL');
  t.match(readFileSync('/proc/self/mountinfo', 'utf8'), await instanceOf(dataDir), 'its mount is left');
  const driver = await startDriver(t, { dataDir });
  t.equal((await run(await driver.create(sandboxSpec()), ['echo', 'x'])).stdout, 'x\n');
  await driver.close();
  t.notMatch(readFileSync('/proc/self/mountinfo', 'utf8'), await instanceOf(dataDir));
});

t.test('each sandbox has a uid of its own, never root’s', { skip: !isRoot && 'needs root' }, async (t) => {
  const driver = await startDriver(t);
  const sandboxes = [await driver.create(sandboxSpec()), await driver.create(sandboxSpec())];
  const [first, second] = sandboxes.map(({ uid }) => uid);
  t.not(first, second);
  t.ok(first! >= 200_000 && second! >= 200_000);
  await t.rejects(driver.create({ ...sandboxSpec(), id: '../evil' }), { message: /not an id of ours/ });
});

t.test('data below what every sandbox can read is refused', { skip: !isRoot && 'needs root' }, async (t) => {
  const dataDir = '/usr/share/codegen-worker-test';
  t.teardown(() => rm(dataDir, { recursive: true, force: true }));
  const driver = new BubblewrapDriver({
    dataDir,
    log: pino({ level: 'silent' }),
    minimum: 'oneshot',
    uids: { first: 200_000, count: 10 },
    agentIdleMs: 1000,
  });
  t.teardown(() => driver.close());
  // Said at the start, or kept as the reason why nothing runs.
  const why = await driver.start().then(
    () => JSON.stringify(driver.isolation.missing),
    (error: Error) => error.message,
  );
  t.match(why, /lies below \/usr|can read/);
  t.notOk(existsSync(join(dataDir, 'sandboxes')));
});

t.test('as an ordinary user all of it works, too', { skip: !isRoot && 'runs as one already' }, async (t) => {
  const home = await directory(t);
  // Copied, since the user may not be able to reach where this runs.
  const app = join(home, 'app');
  mkdirSync(join(app, 'build'), { recursive: true });
  const copied = ['src', 'test', 'node_modules'].map((name) => join(root, 'build', name));
  t.equal(spawnSync('cp', ['-r', ...copied, join(app, 'build')]).status, 0);
  symlinkSync(join(root, 'node_modules'), join(app, 'node_modules'));
  copyFileSync(join(root, 'package.json'), join(app, 'package.json'));
  for (const path of ['tmp', 'data']) mkdirSync(join(home, path));
  chmodSync(home, 0o755);
  for (const path of ['tmp', 'data']) chownSync(join(home, path), 1234, 1234);
  const test = spawnSync(process.execPath, [join(app, 'build/test/helpers/core-case.js')], {
    ...{ uid: 1234, gid: 1234, cwd: '/', encoding: 'utf8' },
    env: { PATH: process.env.PATH, TMPDIR: join(home, 'tmp'), DATA_DIR: join(home, 'data') },
  });
  t.equal(test.stdout, 'full null 1 killed 3 again true\n', test.stderr);
  t.same(readdirSync(join(home, 'tmp')), []);
});
