import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { NoCgroup } from '../../../src/sandbox/limits/no-cgroup.js';

function family(t: Test) {
  const child = spawn(
    '/usr/bin/python3',
    [
      '-I',
      '-c',
      "import subprocess; x = bytearray(20 << 20); subprocess.run(['/usr/bin/python3', '-I', '-c', 'print(1, flush=True); input()'])",
    ],
    { stdio: ['pipe', 'pipe', 'ignore'] },
  );
  t.teardown(() => child.kill('SIGKILL'));
  return child;
}

t.test('without cgroups usage is added up over the whole family', async (t) => {
  const group = await new NoCgroup().create();
  t.same(await group.usage(), { memoryBytes: 0, cpuMs: 0, processes: 0 });
  const child = family(t);
  await once(child.stdout, 'data');
  await group.adopt([child.pid!]);
  const usage = await group.usage();
  t.equal(usage.processes, 2);
  t.ok(usage.memoryBytes! > 20 << 20, `${usage.memoryBytes} bytes`);
  t.ok(usage.cpuMs! > 0, `${usage.cpuMs} ms`);
});

t.test('without cgroups nothing claims to be frozen or to know its members', async (t) => {
  const limiter = new NoCgroup();
  t.equal(limiter.kind, null);
  const group = await limiter.create();
  t.equal(await group.freeze(), false);
  t.equal(await group.processes(), null);
  const program = await group.child('one');
  t.equal(await program.oomKills(), 0);
});

t.test('without cgroups kill ends the adopted processes and waits for it', async (t) => {
  const group = await new NoCgroup().create();
  const child = family(t);
  const closed = once(child, 'exit');
  await group.adopt([child.pid!, 2 ** 22 + 1]);
  await group.kill();
  t.equal((await closed)[1], 'SIGKILL');
  await group.kill();
  await group.remove();
});

t.test('a pid that was not seen alive is never signalled', async (t) => {
  const group = await new NoCgroup().create();
  const ended = spawn('true');
  await once(ended, 'close');
  await group.adopt([ended.pid!]);
  await sleep(0);
  await group.kill();
  t.same((await group.usage()).processes, 0);
});
