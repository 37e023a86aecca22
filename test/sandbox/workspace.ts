import { spawnSync } from 'node:child_process';
import { chmodSync, lstatSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Workspace, workspacesBelow } from '../../src/sandbox/workspace.js';

function makeWorkspace(t: Test, uid: number | null = null): Workspace {
  const workspace = new Workspace(join(t.testdir(), 'ses_1'), uid);
  workspace.create();
  workspace.fill('3.11');
  return workspace;
}

t.test('a workspace is private, below a directory that can only be passed', async (t) => {
  const umask = process.umask(0o077);
  t.teardown(() => process.umask(umask));
  const workspace = makeWorkspace(t);
  t.equal(lstatSync(workspace.directory).mode & 0o777, 0o711);
  t.equal(lstatSync(workspace.path).mode & 0o777, 0o700);
  t.equal(lstatSync(join(workspace.path, '.venv')).mode & 0o777, 0o755);
});

t.test('its virtual environment is one for python', async (t) => {
  const { path } = makeWorkspace(t);
  t.equal(readlinkSync(join(path, '.venv/bin/python')), '/usr/bin/python3');
  t.match(readFileSync(join(path, '.venv/pyvenv.cfg'), 'utf8'), 'home = /usr/bin');
  const { stdout } = spawnSync(join(path, '.venv/bin/python'), ['-c', 'import sys; print(sys.prefix)'], {
    encoding: 'utf8',
  });
  t.equal(stdout.trim(), join(path, '.venv'));
});

t.test(
  'all of it belongs to the sandbox’s uid',
  { skip: process.getuid?.() !== 0 && 'needs root' },
  async (t) => {
    const { path } = makeWorkspace(t, 234_567);
    for (const each of [
      '',
      '.venv',
      '.venv/bin/python',
      '.venv/pyvenv.cfg',
      '.venv/lib/python3.11/site-packages',
    ]) {
      const { uid, gid } = lstatSync(join(path, each));
      t.same([uid, gid], [234_567, 234_567], each);
    }
  },
);

t.test('a workspace that lost its rights is made usable, and its other rights stay', async (t) => {
  const workspace = makeWorkspace(t);
  chmodSync(workspace.path, 0o005);
  workspace.makeUsable();
  t.equal(lstatSync(workspace.path).mode & 0o777, 0o705);
});

t.test('a workspace is only removed when nothing is left in it', async (t) => {
  const workspace = new Workspace(join(t.testdir({ ses_2: { workspace: {} } }), 'ses_2'), null);
  writeFileSync(join(workspace.path, 'file'), '');
  t.throws(() => workspace.removeEmpty(), { code: 'ENOTEMPTY' });
  const empty = new Workspace(join(t.testdir({ ses_2: { workspace: {} } }), 'ses_2'), null);
  empty.removeEmpty();
  t.notOk(empty.exists());
  empty.removeEmpty();
});

t.test('workspaces are found again with their owners', async (t) => {
  const directory = t.testdir({ ses_1: { workspace: {} }, ses_2: {} });
  t.same(
    (await workspacesBelow(directory)).sort((a, b) => (a.id < b.id ? -1 : 1)),
    [
      { id: 'ses_1', uid: process.getuid?.() },
      { id: 'ses_2', uid: null },
    ],
  );
});
