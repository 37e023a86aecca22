// Programs of our own in a sandbox that lives for just one.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { pino } from 'pino';
import t from 'tap';
import { HostDirectories } from '../../src/sandbox/host-directories.js';
import { BubblewrapLauncher } from '../../src/sandbox/launch.js';
import { launchOneShot, type OneShotProgram } from '../../src/sandbox/oneshot.js';
import type { SandboxHost } from '../../src/sandbox/sandbox-host.js';
import { seccompFilter } from '../../src/sandbox/seccomp.js';
import { Workspace } from '../../src/sandbox/workspace.js';

const isRoot = process.getuid?.() === 0;
const dataDir = await mkdtemp(join(tmpdir(), 'codegen-worker-test-'));
t.teardown(() => rm(dataDir, { recursive: true, force: true }));
const filter = seccompFilter(process.arch, { sockets: true });
const directories = await HostDirectories.open(dataDir, { isRoot, filter });
t.teardown(() => directories.close());
const workspace = new Workspace(join(directories.workspaces, 'w'), isRoot ? 234_568 : null);
workspace.create();
workspace.fill('3.11');
// Stands in for the real one, to look at the walls from inside.
await writeFile(join(directories.library, 'tree.py'), 'import sys; exec(sys.argv[1])');

const host: SandboxHost = {
  directories,
  limiter: undefined as never,
  launcher: new BubblewrapLauncher('/usr/bin/bwrap', { userNamespace: true, proc: true }),
  python: { path: '/usr/bin/python3', version: '3.11' },
  filter,
  closedFilter: seccompFilter(process.arch, { sockets: false }),
  nested: true,
  agentIdleMs: 1,
  startWithinMs: 60_000,
  pipReady: async () => {},
  removed: () => {},
  log: pino({ level: 'silent' }),
} as Partial<SandboxHost> as SandboxHost;

async function look(code: string, changes: Partial<OneShotProgram> = {}) {
  const adopted: number[] = [];
  const oneShot = await launchOneShot(
    host,
    workspace,
    { script: 'tree.py', args: [code], workspace: 'read', overrideOwner: false, ...changes },
    async (pids) => void adopted.push(...pids),
  );
  oneShot.stdin.end();
  const stdout = await text(oneShot.stdout);
  return { stdout: stdout.trim(), adopted, ...(await oneShot.ended) };
}

t.test('it is put under limits, bubblewrap and all, before it runs', async (t) => {
  const { adopted, stdout, code } = await look('print("ran")');
  t.equal(adopted.length, 2);
  t.same([stdout, code], ['ran', 0]);
});

t.test('it sees the workspace as it was asked for', async (t) => {
  const write = 'open("/workspace/f", "w").close(); print("written")';
  t.match((await look(write)).stderr, 'Read-only file system');
  t.equal((await look(write, { workspace: 'write' })).stdout, 'written');
  const list = 'import os; print(os.path.exists("/workspace"))';
  t.equal((await look(list, { workspace: 'none' })).stdout, 'False');
});

t.test('it has no network and no sockets', async (t) => {
  t.match((await look('import socket; socket.socket()')).stderr, 'OSError');
});

t.test('it passes over permissions only when it may', async (t) => {
  await look('import os; os.mkdir("/workspace/closed"); os.chmod("/workspace/closed", 0)', {
    workspace: 'write',
  });
  const list = 'import os; print(os.listdir("/workspace/closed"))';
  t.match((await look(list)).stderr, 'PermissionError');
  t.equal((await look(list, { overrideOwner: true })).stdout, '[]');
});

t.test('how it ended, and what it said, are told; it can be killed', async (t) => {
  const failed = await look('sys.stderr.write("why"); sys.exit(3)');
  t.match(failed, { code: 3, stderr: 'why' });
  const endless = await launchOneShot(
    host,
    workspace,
    { script: 'tree.py', args: ['import time; time.sleep(60)'], workspace: 'none', overrideOwner: false },
    async () => {},
  );
  endless.kill();
  t.not((await endless.ended).code, 0);
});

t.test('when it cannot be limited it does not run', async (t) => {
  const limits = () => Promise.reject(new Error('no limits'));
  await t.rejects(
    launchOneShot(
      host,
      workspace,
      { script: 'tree.py', args: ['print(1)'], workspace: 'none', overrideOwner: false },
      limits,
    ),
    { message: /no limits/ },
  );
});
