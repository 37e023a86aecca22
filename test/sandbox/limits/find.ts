// The same promises hold for whichever limiter this host has; where it has none that can, the test says so.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { findLimiter } from '../../../src/sandbox/limits/find.js';
import { findPlace } from '../../../src/sandbox/limits/place.js';

const log = pino({ level: 'silent' });
const instance = `test-${process.pid}`;
const limits = {
  memoryBytes: 64 * 1024 * 1024,
  cpuPercent: 50,
  diskBytes: 1 << 30,
  maxInodes: 1000,
  maxProcesses: 24,
  maxOpenFiles: 256,
};

const limiter = await findLimiter(log, instance);
const skip = limiter.kind === null ? 'no cgroup can be used here (not root, or read-only)' : false;
t.teardown(() => limiter.close());

const place = findPlace(
  readFileSync('/proc/self/mountinfo', 'utf8'),
  readFileSync('/proc/self/cgroup', 'utf8'),
);
/** Wherever our groups may stand; with v2 we may have moved into a leaf meanwhile, and they stand beside it. */
const places = [
  ...place.controllers.values(),
  ...(place.unified ? [place.unified, dirname(place.unified)] : []),
];
const leftGroups = () =>
  places.flatMap((path) =>
    readdirSync(path)
      .filter((name) => name.includes(instance))
      .map((name) => `${path}/${name}`),
  );

async function until(what: string, isSo: () => boolean | Promise<boolean>) {
  for (const end = Date.now() + 10_000; !(await isSo()); await sleep(2)) {
    if (Date.now() > end) throw new Error(`waited in vain for: ${what}`);
  }
}

/** A python that starts its work only when told, so that it can be moved into a group before. */
function python(t: Test, code: string): ChildProcess & { pid: number } {
  const child = spawn('/usr/bin/python3', ['-I', '-c', `import sys; sys.stdin.read()\n${code}`], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  return child as ChildProcess & { pid: number };
}

t.test('out of memory kills in the program that met the limit, and counts it', { skip }, async (t) => {
  const group = await limiter.create('memory', limits);
  const bystander = python(t, 'import time; time.sleep(60)');
  await group.adopt([bystander.pid]);
  const program = await group.child('one', 32 * 1024 * 1024);
  const hungry = python(t, 'x = bytearray(128 * 1024 * 1024)');
  const closed = once(hungry, 'close');
  await program.adopt([hungry.pid]);
  hungry.stdin!.end();
  const [, signal] = await closed;
  t.equal(signal, 'SIGKILL');
  t.ok((await program.oomKills()) > 0);
  const { peakMemoryBytes, cpuMs } = await program.usage();
  t.ok(peakMemoryBytes! > 16 * 1024 * 1024 && peakMemoryBytes! <= 32 * 1024 * 1024, `${peakMemoryBytes}`);
  t.type(cpuMs, 'number');
  t.equal(bystander.exitCode ?? bystander.signalCode, null, 'the rest of the sandbox lives on');
  await group.kill();
  await group.remove();
});

t.test('the limit of the sandbox holds its programs together', { skip }, async (t) => {
  const group = await limiter.create('together', limits);
  const program = await group.child('one');
  const hungry = python(t, 'x = bytearray(256 * 1024 * 1024)');
  const closed = once(hungry, 'close');
  await program.adopt([hungry.pid]);
  hungry.stdin!.end();
  t.equal((await closed)[1], 'SIGKILL');
  t.ok((await program.oomKills()) > 0);
  await group.remove();
});

t.test('the memory of a program can be lowered and raised', { skip }, async (t) => {
  const group = await limiter.create('change', limits);
  const program = await group.child('one', 48 * 1024 * 1024);
  await program.limitMemory(16 * 1024 * 1024);
  await program.limitMemory(60 * 1024 * 1024);
  const modest = python(t, 'x = bytearray(30 * 1024 * 1024); print(len(x))');
  await program.adopt([modest.pid]);
  modest.stdin!.end();
  t.equal((await text(modest.stdout!)).trim(), String(30 * 1024 * 1024));
  await group.remove();
});

t.test('a fork bomb is held at the limit, and killed whole', { skip }, async (t) => {
  const group = await limiter.create('forks', limits);
  const bomb = python(
    t,
    `
import os
def spread():
    while True:
        try:
            if os.fork() == 0: os.setsid()
        except OSError: pass
spread()`,
  );
  const closed = once(bomb, 'close');
  await group.adopt([bomb.pid]);
  bomb.stdin!.end();
  await until(
    'the bomb has filled its group',
    async () => (await group.usage()).processes === limits.maxProcesses,
  );
  const members = (await group.processes())!;
  t.ok(members.length > 1 && members.length <= limits.maxProcesses, `${members.length} processes`);
  await group.kill();
  await closed;
  t.same(await group.processes(), []);
  await group.remove();
});

t.test('the cpu quota slows a busy program down', { skip }, async (t) => {
  const group = await limiter.create('cpu', { ...limits, cpuPercent: 20 });
  const busy = python(
    t,
    // Its own start is not of the second that is looked at.
    `import time
begun, used = time.monotonic(), time.process_time()
while time.monotonic() < begun + 1: pass
print((time.process_time() - used) / (time.monotonic() - begun))`,
  );
  await group.adopt([busy.pid]);
  busy.stdin!.end();
  const share = Number(await text(busy.stdout!));
  t.ok(share > 0.05 && share < 0.4, `${share} of a core`);
  t.ok((await group.usage()).cpuMs! >= 50);
  await group.remove();
});

t.test('where processors are short, what is outside comes first', { skip }, async (t) => {
  const weights = leftGroups().flatMap((path) => [`${path}/cpu.shares`, `${path}/cpu.weight`]);
  const told = weights.filter(existsSync).map((path) => readFileSync(path, 'utf8').trim());
  const hasCpu = limiter.kind === 'v1' ? place.controllers.has('cpu') : weights.some(existsSync);
  t.same(told, hasCpu ? [limiter.kind === 'v1' ? '256' : '25'] : []);
});

t.test('frozen processes stand still, and go on when thawed', { skip }, async (t) => {
  const group = await limiter.create('freeze', limits);
  const program = await group.child('one');
  const counter = python(t, 'import time\nwhile True: print(end=".", flush=True); time.sleep(0.001)');
  await program.adopt([counter.pid]);
  let seen = 0;
  counter.stdout!.on('data', (chunk: Buffer) => {
    seen += chunk.length;
  });
  counter.stdin!.end();
  await until('it counts', () => seen > 5);
  t.equal(await group.freeze(), true);
  let before = -1;
  await until('what was on its way has arrived', () => {
    const same = before === seen;
    before = seen;
    return same;
  });
  await sleep(50);
  t.equal(seen, before);
  await group.thaw();
  await until('it counts again', () => seen > before);
  await group.kill();
  await group.remove();
});

t.test('a frozen group can be killed', { skip }, async (t) => {
  const group = await limiter.create('frozenkill', limits);
  const sleeper = python(t, 'import time; time.sleep(60)');
  const closed = once(sleeper, 'close');
  await group.adopt([sleeper.pid]);
  t.equal(await group.freeze(), true);
  await group.kill();
  t.equal((await closed)[1], 'SIGKILL');
  await group.remove();
});

t.test('a program can be killed without its sandbox', { skip }, async (t) => {
  const group = await limiter.create('onlyone', limits);
  const stays = python(t, '');
  const goes = python(t, '');
  const closed = once(goes, 'close');
  await group.adopt([stays.pid, goes.pid]);
  const program = await group.child('one');
  await program.adopt([goes.pid]);
  t.same(await program.processes(), [goes.pid]);
  t.same((await group.processes())!.sort(), [stays.pid, goes.pid].sort(), 'the sandbox counts both');
  await program.kill();
  await closed;
  await program.remove();
  t.same(await group.processes(), [stays.pid]);
  await group.kill();
  await group.remove();
});

t.test('groups are made and removed while processes move into others', { skip }, async (t) => {
  const group = await limiter.create('crowd', limits);
  const names = ['a', 'b', 'c', 'd', 'e', 'f'];
  await Promise.all(
    names.map(async (name) => {
      const process = python(t, '');
      const closed = once(process, 'close');
      await group.adopt([process.pid]);
      const program = await group.child(name);
      await program.adopt([process.pid]);
      t.same(program.processes(), [process.pid]);
      t.notOk(
        group.ownProcesses()!.includes(process.pid),
        'it is its program’s, and no more the sandbox’s own',
      );
      await program.kill();
      await closed;
      await program.remove();
    }),
  );
  t.same(group.processes(), []);
  await group.remove();
  t.notOk(leftGroups().some((path) => path.includes('crowd')));
});

t.test('a process that has ended meanwhile is no error', { skip }, async (t) => {
  const group = await limiter.create('gone', limits);
  const short = python(t, '');
  short.stdin!.end();
  await once(short, 'close');
  await group.adopt([short.pid]);
  t.same(await group.processes(), []);
  await group.remove();
});

t.test('a group of an earlier run is emptied when its id comes back', { skip }, async (t) => {
  const earlier = await limiter.create('again', limits);
  const leftover = python(t, '');
  const closed = once(leftover, 'close');
  await (await earlier.child('one')).adopt([leftover.pid]);
  const group = await limiter.create('again', limits);
  t.equal((await closed)[1], 'SIGKILL');
  t.same(await group.processes(), []);
  await group.remove();
});

t.test('sweep removes what is not kept, with its processes', { skip }, async (t) => {
  const kept = await limiter.create('kept', limits);
  const lost = await limiter.create('lost', limits);
  const one = python(t, '');
  const closed = once(one, 'close');
  await lost.adopt([one.pid]);
  await limiter.sweep(new Set(['kept']));
  t.equal((await closed)[1], 'SIGKILL');
  t.notOk(leftGroups().some((path) => path.includes('lost')));
  await kept.adopt([]);
  t.same(await kept.processes(), []);
  await kept.remove();
});

t.test('an id that could be a path is refused', { skip }, async (t) => {
  for (const id of ['..', 'a/b', '', 'x\n', 'cgroup.procs']) {
    await t.rejects(limiter.create(id, limits), /not a name/, JSON.stringify(id));
  }
});

t.test('close leaves no group behind', { skip }, async (t) => {
  const other = await findLimiter(log, `${instance}-other`);
  const group = await other.create('open', limits);
  const one = python(t, '');
  const closed = once(one, 'close');
  await group.adopt([one.pid]);
  t.ok(leftGroups().some((path) => path.includes('-other')));
  await other.close();
  t.equal((await closed)[1], 'SIGKILL');
  t.notOk(leftGroups().some((path) => path.includes('-other')));
});
