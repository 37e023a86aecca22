// What happens while a sandbox starts: a start that the test holds up is called off, limited, closed and frozen.
import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { bubblewrapBuilder } from '../../src/sandbox/builder.js';
import { NoCgroup } from '../../src/sandbox/limits/no-cgroup.js';
import { emptyDirectory } from '../helpers/directory.js';
import { until } from '../helpers/event-client.js';
import { run, sandboxSpec, start, startDriver } from '../helpers/sandboxes.js';

/** A driver whose sandboxes start only while they are not held. */
async function heldDriver(t: Test, options: Parameters<typeof startDriver>[1] = {}) {
  const directory = emptyDirectory(t);
  // Bubblewrap is started as the user of the sandbox.
  chmodSync(directory, 0o777);
  const [held, tried, path] = ['held', 'tried', 'bwrap'].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ];
  const script = `#!/usr/bin/python3 -IS
import os, sys, time
if "agent.pyc" in " ".join(sys.argv) and os.path.exists(${JSON.stringify(held)}):
    open(${JSON.stringify(tried)}, "w").close()
    while os.path.exists(${JSON.stringify(held)}): time.sleep(.01)
os.execv("/usr/bin/bwrap", sys.argv)
`;
  writeFileSync(path, script, { mode: 0o755 });
  const driver = await startDriver(t, { ...options, builder: (host) => bubblewrapBuilder(path, host) });
  return {
    driver,
    hold: () => writeFileSync(held, ''),
    release: () => rmSync(held, { force: true }),
    isTried: () => until(() => existsSync(tried)),
  };
}

t.test('a program whose sandbox starts is called off at once, and nothing of it runs', async (t) => {
  const { driver, hold, release, isTried } = await heldDriver(t);
  const sandbox = await driver.create(sandboxSpec());
  hold();
  const own = start(sandbox, 'open("ran", "w").close()');
  const alone = start(sandbox, ['touch', 'ran'], { egress: { allow: [], mayBePrivate: [] } });
  await isTried();
  t.equal(sandbox.startPosition, 1);
  for (const { exec, ran } of [own, alone]) {
    exec.end(10_000);
    t.match((await ran).end, { how: { kind: 'calledOff' }, processesKilled: 0 });
  }
  const ending = new AbortController();
  const ready = sandbox.files.ready(ending.signal);
  ending.abort(new Error('cancelled'));
  await t.rejects(ready, { message: 'cancelled' });
  release();
  t.equal((await run(sandbox, 'import os; print(os.path.exists("ran"))')).stdout, 'False\n');
  await until(() => sandbox.startPosition === 0);
  await sandbox.remove();
});

t.test('a start that takes longer than it may is an ending of its own, and can be tried again', async (t) => {
  const { driver, hold, release } = await heldDriver(t, { startWithinMs: 300 });
  const sandbox = await driver.create(sandboxSpec());
  hold();
  const { end } = await run(sandbox, 'print(1)');
  t.match(end, { how: { kind: 'startTimedOut', message: /within 0.3 s .* Submit it again/ } });
  await t.rejects(sandbox.files.ready(new AbortController().signal), { message: /did not start within/ });
  release();
  t.match(await run(sandbox, 'print(1)'), { stdout: '1\n' });
  await sandbox.remove();
});

t.test('a sandbox that starts is closed and removed without waiting for it', async (t) => {
  const { driver, hold, isTried } = await heldDriver(t);
  const [starting, ...queued] = await Promise.all(
    Array.from({ length: 12 }, () => driver.create(sandboxSpec())),
  );
  hold();
  const programs = [starting!, ...queued].map((sandbox) => start(sandbox, 'print(1)'));
  await isTried();
  await until(() => queued.some(({ startPosition }) => startPosition > 1));
  await Promise.all([starting!, ...queued].map((sandbox) => sandbox.remove()));
  for (const { ran } of programs) {
    t.match((await ran).end, { how: { kind: 'sandboxDied', message: 'the sandbox is closed' } });
  }
});

t.test('a freeze finds what is being started, and lets nothing begin until the thaw', async (t) => {
  const { driver, hold, release, isTried } = await heldDriver(t);
  const sandbox = await driver.create(sandboxSpec());
  hold();
  const first = start(sandbox, 'open("first", "w").close()');
  // Frozen in the turn in which it was asked for, as a checkpoint may be.
  const freezing = sandbox.freeze();
  await isTried();
  release();
  t.not(await freezing, 'idle');
  await sandbox.thaw();
  t.match((await first.ran).end.how, { kind: 'exited', exitCode: 0 });
  await sandbox.remove();
});

t.test('what is asked for while the sandbox is still begins after the thaw', async (t) => {
  const { driver } = await heldDriver(t);
  const sandbox = await driver.create(sandboxSpec());
  t.equal(await sandbox.freeze(), 'idle');
  let isOver = false;
  const second = start(sandbox, 'print("late")');
  void second.ran.then(() => {
    isOver = true;
  });
  const files = sandbox.files.stat('.', new AbortController().signal);
  const calledOff = start(sandbox, 'print("never")');
  calledOff.exec.end(0);
  t.match((await calledOff.ran).end.how, { kind: 'calledOff' });
  t.equal(sandbox.startPosition, 0, 'nothing starts');
  t.notOk(isOver);
  await sandbox.thaw();
  t.equal((await second.ran).stdout, 'late\n');
  t.match(await files, { type: 'directory' });
  await sandbox.remove();
});

t.test('a moment without resources is not remembered', async (t) => {
  let failures = 2;
  const limiter = new NoCgroup();
  const create = limiter.create.bind(limiter);
  Object.assign(limiter, {
    create: async () => {
      failures -= 1;
      if (failures >= 0) throw Object.assign(new Error('EMFILE: /sys/fs/cgroup/x'), { code: 'EMFILE' });
      return create();
    },
  });
  failures = 0;
  const driver = await startDriver(t, { limiter });
  const sandbox = await driver.create(sandboxSpec());
  failures = 2;
  for (let n = 0; n < 2; n += 1) {
    const { how } = (await run(sandbox, 'print(1)')).end;
    t.match(how, { kind: 'sandboxDied', message: /could not be started/ });
    t.notMatch(JSON.stringify(how), '/sys/', 'places of the host are for the log');
  }
  t.equal((await run(sandbox, 'print(1)')).stdout, '1\n');
  await sandbox.remove();
});

t.test('whenever a start is called off, no process of it is left', async (t) => {
  const directory = emptyDirectory(t);
  const pids = join(directory, 'pids');
  writeFileSync(pids, '');
  chmodSync(directory, 0o777);
  chmodSync(pids, 0o666);
  const path = join(directory, 'bwrap');
  // bubblewrap keeps its pid; its child inherits the descriptor of this file.
  const script = `#!/usr/bin/python3 -IS
import os, sys
if "agent.pyc" in " ".join(sys.argv):
    mark = os.open(${JSON.stringify(pids)}, os.O_WRONLY | os.O_APPEND)
    os.write(mark, b"%d\\n" % os.getpid())
    os.set_inheritable(mark, True)
os.execv("/usr/bin/bwrap", sys.argv)
`;
  writeFileSync(path, script, { mode: 0o755 });
  const driver = await startDriver(t, { builder: (host) => bubblewrapBuilder(path, host) });
  for (let round = 0; round < 24; round += 1) {
    const sandbox = await driver.create(sandboxSpec());
    const before = readFileSync(pids, 'latin1').length;
    const { ran } = start(sandbox, 'print(1)');
    await until(() => readFileSync(pids, 'latin1').length > before);
    // Bubblewrap is at another place of its start each time.
    for (let turns = 0; turns < 4 * round; turns += 1) await setImmediate();
    await sandbox.remove();
    t.not((await ran).end.how.kind, 'exited');
  }
  await until(() => holdersOf(pids).length === 0);
  t.same(holdersOf(pids), []);
});

/** The processes that have this file open. */
function holdersOf(path: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      const open = readdirSync(`/proc/${pid}/fd`);
      return open.some((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`) === path);
    } catch {
      return false;
    }
  });
}
