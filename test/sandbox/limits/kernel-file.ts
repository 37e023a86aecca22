import { spawn } from 'node:child_process';
import { once } from 'node:events';
import t from 'tap';
import { readKernelFile, readNumber, tell } from '../../../src/sandbox/limits/kernel-file.js';

t.test('a file is read whole, also one that comes in many pieces', async (t) => {
  const lines = `${'x'.repeat(99)}\n`.repeat(2000);
  const dir = t.testdir({ long: lines });
  t.equal(readKernelFile(`${dir}/long`), lines);
});

t.test('what is not there, or speaks of a process that has gone, is null', async (t) => {
  t.equal(readKernelFile('/proc/self/no-such-file'), null);
  const child = spawn('true');
  await once(child, 'close');
  t.equal(readKernelFile(`/proc/${child.pid}/status`), null);
});

t.test('a file that may not be read is no empty one', async (t) => {
  t.throws(() => readKernelFile('/proc/self'), { code: 'EISDIR' });
});

t.test('a number is the whole file, or what follows its name at the beginning of a line', async (t) => {
  const dir = t.testdir({
    plain: '4096\n',
    unlimited: 'max\n',
    keyed: 'not_oom_kill 1\noom_kill_disable 2\noom_kill 3\n',
  });
  t.equal(readNumber(`${dir}/plain`), 4096);
  t.equal(readNumber(`${dir}/keyed`, 'oom_kill'), 3);
  t.equal(readNumber(`${dir}/keyed`, 'kill'), null);
  t.equal(readNumber(`${dir}/unlimited`), null);
  t.equal(readNumber(`${dir}/missing`), null);
});

t.test('only a file that exists is written to', async (t) => {
  const dir = t.testdir({ limit: '' });
  await tell(`${dir}/limit`, 7);
  t.equal(readKernelFile(`${dir}/limit`), '7');
  await t.rejects(tell(`${dir}/other`, 7), { code: 'ENOENT' });
});
