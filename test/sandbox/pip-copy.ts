import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readlinkSync, statSync, symlinkSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { unpackPip } from '../../src/sandbox/pip-copy.js';

const PYTHON = '/usr/bin/python3';
const never = new AbortController().signal;

t.test('pip is unpacked once, whole, and can be read by everybody', async (t) => {
  const directory = t.testdir();
  await unpackPip(directory, PYTHON, never);
  const name = readlinkSync(join(directory, 'current'));
  t.same(readdirSync(directory).sort(), ['current', name].sort(), 'nothing is left aside');
  const { stdout } = spawnSync(
    PYTHON,
    [
      '-I',
      '-c',
      `import sys; sys.path.insert(0, ${JSON.stringify(`${directory}/current`)}); import pip; print(pip.__version__)`,
    ],
    { encoding: 'utf8' },
  );
  t.match(name, `pip-${stdout.trim()}-`);
  t.equal(statSync(join(directory, name)).mode & 0o777, 0o755);
  const { ino } = statSync(join(directory, name));
  await unpackPip(directory, PYTHON, never);
  t.equal(statSync(join(directory, name)).ino, ino, 'not again');

  // Another version, and what a killed service left.
  unlinkSync(join(directory, 'current'));
  symlinkSync('pip-1.0-py3-none-any', join(directory, 'current'));
  mkdirSync(join(directory, '.new-left'));
  await unpackPip(directory, PYTHON, never);
  t.equal(readlinkSync(join(directory, 'current')), name);
  t.notOk(readdirSync(directory).includes('.new-left'));
});

t.test('unpacking that is called off leaves nothing', async (t) => {
  const directory = t.testdir();
  const controller = new AbortController();
  const unpacking = unpackPip(directory, PYTHON, controller.signal);
  controller.abort();
  await t.rejects(unpacking, { name: 'AbortError' });
  t.same(readdirSync(directory), []);
});
