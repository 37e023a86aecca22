// Limits that no kernel holds: a sandbox without cgroups, whose workspace is only watched.
import t from 'tap';
import { NoCgroup } from '../../src/sandbox/limits/no-cgroup.js';
import { until } from '../helpers/event-client.js';
import { MIB, run, sandboxSpec, start, startDriver } from '../helpers/sandboxes.js';

const watched = await startDriver(t, { limiter: new NoCgroup(), diskLimit: 'watcher' });
const { level } = watched.isolation;
const skip = level === null && 'no sandbox on this host';
const { limits } = sandboxSpec();
const signal = new AbortController().signal;

const WRITE = 'import os; os.write(os.open("more", os.O_CREAT | os.O_WRONLY), b"x")';
const FILL = `
import time
for i in range(10_000):
    with open(f"fill{i}", "wb") as file: file.write(bytes(1 << 20))
    time.sleep(0.02)
`;

t.test(
  'a program that fills the workspace is ended with numbers; it can be emptied and used again',
  { skip },
  async (t) => {
    const sandbox = await watched.create(sandboxSpec({ limits: { ...limits, diskBytes: 8 * MIB } }));
    const idle = start(sandbox, 'print("up", flush=True); import time; time.sleep(60)');
    await idle.said('up');
    const { end } = await run(sandbox, FILL);
    t.match(end, { limit: 'diskLimit', how: { kind: 'signaled', signal: 'SIGKILL' } });
    t.ok(end.reached!.peakBytes! > 8 * MIB, `${end.reached?.peakBytes} bytes`);
    t.equal((await idle.ran).end.limit, 'diskLimit', 'nobody knows which of them it was');

    t.match((await run(sandbox, WRITE)).stderr, 'File too large');
    await t.rejects(
      sandbox.files.write('more', Buffer.from('x'), { createDirs: true, append: false }, signal),
      {
        code: 'DISK_FULL',
      },
    );
    await t.rejects(sandbox.files.mkdir('more', { parents: false }, signal), { code: 'DISK_FULL' });
    const emptied = await run(
      sandbox,
      'import glob, os, time\nfor name in glob.glob("fill*"): os.remove(name)\ntime.sleep(1.5)\nprint("done")',
    );
    t.equal(emptied.stdout, 'done\n', 'who makes it smaller is left alone');
    await until(async () => {
      const { end } = await run(sandbox, WRITE);
      return end.how.kind === 'exited' && end.how.exitCode === 0;
    });
    t.ok((await sandbox.usage()).diskBytes! < MIB);
    await sandbox.remove();
  },
);

t.test('too many files end it, too', { skip }, async (t) => {
  const sandbox = await watched.create(sandboxSpec({ limits: { ...limits, maxInodes: 300 } }));
  const { end } = await run(
    sandbox,
    'import os, time\nfor i in range(2_000): os.mkdir(f"d{i}")\ntime.sleep(60)',
  );
  t.equal(end.limit, 'diskLimit');
  t.ok(end.reached!.peakFiles! > 300, `${end.reached?.peakFiles} files`);
  await sandbox.remove();
});

const HUNGRY = `
import os, sys, time
if os.fork() == 0 and os.fork() == 0: os.setsid()
held = bytearray(int(sys.argv[1]) << 20)
print("holds", flush=True)
time.sleep(60)
`;

t.test('the biggest program is ended when all together have too much memory', { skip }, async (t) => {
  const sandbox = await watched.create(sandboxSpec({ limits: { ...limits, memoryBytes: 256 * MIB } }));
  const small = start(sandbox, { kind: 'python', code: HUNGRY, args: ['20'] });
  await small.said('holds');
  const { end } = await run(sandbox, { kind: 'python', code: HUNGRY, args: ['90'] });
  t.equal(end.limit, 'outOfMemory', 'three processes that are each below the limit');
  t.ok(end.reached!.peakBytes! > 256 * MIB, `${end.reached?.peakBytes} bytes`);
  small.exec.end(0);
  t.equal((await small.ran).end.limit, undefined, 'the other one lives on');
  t.equal((await run(sandbox, 'print("next")')).stdout, 'next\n');
  await sandbox.remove();
});

t.test('a program that asked for less memory is held to that', { skip }, async (t) => {
  const sandbox = await watched.create(sandboxSpec());
  const hungry = { kind: 'python', code: HUNGRY, args: ['40'] } as const;
  const { end } = await run(sandbox, hungry, { memoryBytes: 64 * MIB });
  t.equal(end.limit, 'outOfMemory');
  t.ok(end.reached!.peakBytes! > 64 * MIB && end.reached!.peakBytes! < 256 * MIB);
  await sandbox.remove();
});

const strict = await startDriver(t);

t.test(
  'where the kernel holds the workspace, a program that fails in a full one met its limit',
  { skip: (strict.isolation.limits.disk === 'watcher' && 'needs root and loop devices') || skip },
  async (t) => {
    const sandbox = await strict.create(sandboxSpec({ limits: { ...limits, diskBytes: 8 * MIB } }));
    const full = await run(
      sandbox,
      'open("a", "wb").write(bytes(6 << 20)); open("b", "wb").write(bytes(6 << 20))',
    );
    t.match(full.stderr, 'No space left');
    t.match(full.end, { how: { kind: 'exited', exitCode: 1 }, limit: 'diskLimit' });
    t.ok(full.end.reached!.peakBytes! > 6 * MIB);
    await t.rejects(
      sandbox.files.write('c', Buffer.alloc(4 * MIB), { createDirs: true, append: false }, signal),
      { code: 'DISK_FULL' },
    );
    const next = await run(sandbox, 'import os; os.remove("a"); open("c", "wb").write(bytes(1 << 20))');
    t.equal(next.end.limit, undefined);
    t.match(next.end.how, { exitCode: 0 });
    const { diskBytes, inodes } = await sandbox.usage();
    t.ok(diskBytes! > MIB && diskBytes! < 8 * MIB && inodes! > 2);
    await sandbox.remove();
  },
);
