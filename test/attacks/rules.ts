// The rules every sandbox is built by, each attacked where nothing else does; docs/testing.md has the list.

import { existsSync, mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { instanceOf } from '../../src/sandbox/host-directories.js';
import { emptyDirectory } from '../helpers/directory.js';
import { startProcess } from '../helpers/service-process.js';
import { eventsOf, startService, until } from '../helpers/world.js';

t.test('planted-in-the-workspace: what lies there runs confined, and never as pid 1', async (t) => {
  const world = await startService(t);
  const { sessionId } = await world.session();
  const plant = `
import os, sys
mark = '''
import os
with open("/proc/self/status") as file: status = dict(line.split(":", 1) for line in file)
with open("/workspace/ran", "a") as file:
    print(os.getpid(), status["CapEff"].strip(), status["CapBnd"].strip(), status["Seccomp"].strip(), status["NoNewPrivs"].strip(), file=file)
'''
packages = next(p for p in sys.path if p.startswith("/workspace/.venv"))
for path in ["/workspace/json.py", "/workspace/sitecustomize.py", f"{packages}/sitecustomize.py", f"{packages}/usercustomize.py", "/workspace/agent.py", "/workspace/keeper.py", "/workspace/program.py"]:
    open(path, "w").write(mark)
open(f"{packages}/planted.pth", "w").write(f"import sys; exec({mark!r})\\n")
open("/workspace/.venv/pyvenv.cfg", "a").write("include-system-site-packages = true\\n")
`;
  t.equal((await world.python(sessionId, plant)).status, 'success');
  // The agent that comes now finds all of it there.
  await world.restart();
  t.equal((await world.python(sessionId, 'print("fine")')).outputs?.stdout, 'fine\n');
  await world.run(sessionId, 'fs.list', { path: '.', recursive: true });
  const lines = (await world.readFile(sessionId, 'ran')).trim().split('\n');
  t.ok(lines.length > 0, 'the planted .pth ran, for the program');
  for (const line of lines) {
    const [pid, ...rest] = line.split(' ');
    t.not(pid, '1');
    t.same(rest, ['0000000000000000', '0000000000000000', '2', '1'], line);
  }
});

t.test(
  'a-fifo-and-a-giant-listing: what blocks a file operation stalls nobody’s output or cancel',
  async (t) => {
    const world = await startService(t);
    const { sessionId } = await world.session({ concurrency: 8 });
    await world.python(
      sessionId,
      'import os\nos.mkfifo("fifo")\nfor n in range(20000): open(f"n{n}", "w").close()',
    );
    const printing = await world.submit(sessionId, 'run.python', {
      code: 'import time\nwhile True: print("tick", flush=True); time.sleep(.02)',
    });
    const files = Promise.all([
      world.run(sessionId, 'fs.read', { path: 'fifo' }),
      world.run(sessionId, 'fs.list', { path: '.', recursive: true, pattern: '**/n*9' }),
      world.run(sessionId, 'fs.list', { path: '.', recursive: true }),
    ]);
    const ticks = async () =>
      (await eventsOf(world, sessionId)).filter(({ type }) => type === 'task.output').length;
    const seen = await until(ticks);
    await until(async () => (await ticks()) > seen + 3);
    const cancelled = await world.call<{ cancelled: boolean; tookMs: number }>(
      'POST',
      `/v1/tasks/${printing.taskId}/cancel`,
      {},
    );
    t.match(cancelled, { status: 200, body: { cancelled: true } });
    t.ok((await files).every(({ status }) => status !== 'queued' && status !== 'running'));
  },
);

t.test('a-long-and-private-place: sandboxes work where nobody may pass and names are long', async (t) => {
  const base = emptyDirectory(t);
  const dataDir = join(base, 'private', 'l'.repeat(120), 'data');
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const service = startProcess(t, dataDir);
  const { address } = await service.line('listening');
  const post = async (path: string, body: object) => {
    const reply = await fetch(address + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    return (await reply.json()) as { sessionId: string; outputs?: { stdout?: string } };
  };
  const { sessionId } = await post('/v1/sessions', {
    network: { mode: 'allowlist', hosts: ['example.com:443'] },
  });
  const code = 'import socket; s = socket.create_connection(("127.0.0.1", 3128), 10); print("bridge")';
  const task = await post(`/v1/sessions/${sessionId}/tasks?wait=60`, {
    tool: 'run.python',
    arguments: { code },
  });
  t.equal(task.outputs?.stdout, 'bridge\n', JSON.stringify(task));
  t.equal(statSync(join(base, 'private')).mode & 0o077, 0, 'and it is as private as before');
  service.child.kill('SIGTERM');
  t.equal(await service.exited, 0);
});

t.test('whose-etc: users, groups and names are those of the sandbox, and none of the host', async (t) => {
  const world = await startService(t);
  const { sessionId } = await world.session();
  const task = await world.python(
    sessionId,
    `import getpass, grp, os, pwd, socket
print(getpass.getuser(), os.path.expanduser("~"), socket.gethostname(), socket.gethostbyname("localhost"))
print(sorted(each.pw_name for each in pwd.getpwall()), sorted(each.gr_name for each in grp.getgrall()))
print(sorted(os.listdir("/etc")))`,
  );
  const [who, users, files] = String(task.outputs?.stdout).split('\n');
  t.equal(who, 'sandbox /workspace sandbox 127.0.0.1', task.outputs?.stderr as string);
  t.equal(users, "['nobody', 'root', 'sandbox'] ['nogroup', 'root', 'sandbox']");
  t.notMatch(files, /shadow|hostname|resolv|machine-id|ssh/);
});

t.test('strangers-by-uid: two sessions are two users of the host, and neither is root', async (t) => {
  if (process.getuid!() !== 0) return t.pass('not tried', { skip: 'needs root' });
  const world = await startService(t);
  const owners = new Set<number>();
  for (const name of ['a', 'b', 'c']) {
    await world.session({ sessionId: name });
    await world.python(name, 'open("mine", "w").write("x")');
  }
  // Where the service has bind-mounted its data for them, when their uids could not pass on the way there.
  const reachable = `/run/codegen-worker-${await instanceOf(world.dataDir)}/sandboxes`;
  const workspaces = join(existsSync(reachable) ? reachable : join(world.dataDir, 'sandboxes'), 'workspaces');
  for (const id of readdirSync(workspaces)) {
    const { uid, mode } = statSync(join(workspaces, id, 'workspace'));
    t.equal(mode & 0o077, 0);
    t.ok(uid >= 200_000);
    t.equal(statSync(join(workspaces, id, 'workspace', 'mine')).uid, uid);
    owners.add(uid);
  }
  t.equal(owners.size, 3);
});

t.test(
  'frozen-and-fighting: what forks and continues itself is frozen for a checkpoint, and can be killed after',
  async (t) => {
    const world = await startService(t);
    const { sessionId } = await world.session();
    const fighter = await world.submit(
      sessionId,
      'run.python',
      {
        code: `import os, signal, time
parent = os.getpid()
for _ in range(4):
    if os.fork() == 0:
        while True:
            try: os.kill(0, signal.SIGCONT); os.kill(parent, signal.SIGCONT)
            except OSError: pass
            open("counter", "a").write("x")
            time.sleep(.001)
time.sleep(600)`,
      },
      { background: true, constraints: { killGraceMs: 0 } },
    );
    await until(
      async () => (await world.run(sessionId, 'fs.stat', { path: 'counter' })).status === 'success',
    );
    const taken = await world.call('POST', `/v1/sessions/${sessionId}/checkpoints`, {});
    t.equal(taken.status, 201, JSON.stringify(taken.body));
    const { body } = await world.call<{ cancelled: boolean }>(
      'POST',
      `/v1/tasks/${fighter.taskId}/cancel`,
      {},
    );
    t.equal(body.cancelled, true);
    t.equal((await world.python(sessionId, 'print("next")')).outputs?.stdout, 'next\n');
  },
);

t.test(
  'a-daemon-on-the-pipe: who holds the output open does not hold the end up, or add to it',
  async (t) => {
    const world = await startService(t);
    const { sessionId } = await world.session();
    const task = await world.python(
      sessionId,
      `import os, signal, time
if os.fork() == 0:
    os.setsid()
    for number in (1, 2, 3, 15): signal.signal(number, signal.SIG_IGN)
    while True: os.write(1, b"daemon" * 1000)
time.sleep(.2)
print("main is done", flush=True)`,
      { constraints: { maxOutputBytes: 1024 ** 3, timeoutSeconds: 60 } },
    );
    t.match(task.ending, { cause: 'exited', exitCode: 0 });
    t.ok(task.durationMs! < 20_000, `${task.durationMs}`);
    t.equal((await eventsOf(world, sessionId)).at(-1)?.type === 'task.output', false);
  },
);
