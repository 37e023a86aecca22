// The package index that the tests of pkg.install rest on, tried with the real pip.
import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { startPackageIndex } from './helpers/package-index.js';

const wheels = '/usr/share/python-wheels';
const pip = existsSync(wheels) ? readdirSync(wheels).find((name) => /^pip-.*\.whl$/.test(name)) : undefined;
const skip = pip ? false : 'python3-pip-whl is not installed';

function runPip(...args: string[]) {
  return promisify(execFile)('/usr/bin/python3', ['-I', join(wheels, String(pip), 'pip'), ...args], {
    env: {
      PIP_CONFIG_FILE: '/dev/null',
      PIP_DISABLE_PIP_VERSION_CHECK: '1',
      PIP_NO_CACHE_DIR: '1',
      HOME: '/nonexistent',
    },
  }).then(
    ({ stdout }) => ({ ok: true, text: stdout }),
    (error: { stdout: string; stderr: string }) => ({ ok: false, text: error.stdout + error.stderr }),
  );
}

t.test('the newest version is installed with what it needs', { skip }, async (t) => {
  const index = await startPackageIndex(t);
  const target = t.testdir();
  const { ok, text } = await runPip(
    'install',
    '--index-url',
    index.url,
    '--target',
    target,
    'tinypkg',
    'tinytool',
    'pinned==2.3.0',
  );
  t.ok(ok, text);
  t.match(text, /Successfully installed pinned-2\.3\.0 tinydep-2\.0 tinypkg-1\.1 tinytool-1\.0/);
  t.ok(existsSync(join(target, 'tinydep.py')));
  t.ok(existsSync(join(target, 'bin/tinytool')));
  t.match(index.requests, ['/simple/tinypkg/']);
});

t.test('a package without a wheel is not found when only wheels may be', { skip }, async (t) => {
  const index = await startPackageIndex(t);
  const { ok, text } = await runPip(
    'download',
    '--only-binary',
    ':all:',
    '--index-url',
    index.url,
    '-d',
    t.testdir(),
    'sdistonly',
  );
  t.notOk(ok);
  t.match(text, /No matching distribution found for sdistonly/);
});

t.test('a file that is not what the index says it is, is refused', { skip }, async (t) => {
  const index = await startPackageIndex(t);
  const { ok, text } = await runPip('download', '--index-url', index.url, '-d', t.testdir(), 'brokenhash');
  t.notOk(ok);
  t.match(text, /DO NOT MATCH THE HASHES|do not match the hashes/i);
});
