// Trees that are made to hurt whoever lists, packs, restores or deletes them.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Session } from '../../src/sessions/schema.js';
import { startService } from '../helpers/world.js';

/** What a tree is, line by line, all that a restore has to give back: set-id and sticky bits it takes away. */
const DESCRIBE = `
import os, stat, hashlib
def walk(path):
    for name in sorted(os.listdir(path)):
        if path == b"/workspace" and name == b".venv": continue
        yield from entry(os.path.join(path, name))
def entry(path):
    found = os.lstat(path)
    what = [path[-300:], oct(found.st_mode & ~0o7000), found.st_size if not stat.S_ISDIR(found.st_mode) else 0, found.st_mtime_ns // 10**9]
    if stat.S_ISLNK(found.st_mode): what.append(os.readlink(path))
    yield repr(what)
    if stat.S_ISDIR(found.st_mode):
        os.chmod(path, 0o700)
        yield from walk(path)
        os.chmod(path, stat.S_IMODE(found.st_mode)); os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
print(hashlib.sha256("\\n".join(walk(b"/workspace")).encode()).hexdigest(), sum(1 for _ in walk(b"/workspace")))
`;

const TREES = {
  'symlinks-out': `
for n, target in enumerate(["/etc/passwd", "/", "../..", "/proc/self/environ", "nowhere", "loop6", "/dev/zero", "/workspace/../root"]):
    os.symlink(target, f"loop{n}")
os.symlink("self", "self")`,
  'a-link-where-a-directory-was': `
os.makedirs("d/e"); open("d/e/f", "w").write("x"); os.rename("d", "real"); os.symlink("/etc", "d")`,
  hardlinks: `
open("one", "w").write("same")
for n in range(50): os.link("one", f"link{n}")`,
  'set-uid-and-sticky': `
for n, mode in enumerate([0o4755, 0o2755, 0o6777, 0o1777, 0o7777]):
    open(f"s{n}", "w").write("#!/bin/sh\\nid\\n"); os.chmod(f"s{n}", mode)
os.mkdir("sticky"); os.chmod("sticky", 0o3777)`,
  'a-sparse-giant': `
with open("giant", "wb") as file:
    file.truncate(60 << 20); file.seek(30 << 20); file.write(b"middle")`,
  'names-of-any-bytes': `
for name in [b"-rf", b"a\\nb", b"\\xff\\xfe", b"$(id)", b"x" * 255, b" ", b"..x", b"\\x1b[2J", "\\u202egpj.exe".encode(), b"a\\tb", b"#", b"%2e%2e", b"C:\\\\x", b"\\xc3("]:
    open(name, "w").write("x")`,
  'locked-out': `
os.makedirs("locked/in/here"); open("locked/in/here/file", "w").write("x"); open("unreadable", "w").write("x")
os.chmod("unreadable", 0); os.chmod("locked/in", 0); os.chmod("locked", 0o111)`,
  'times-out-of-range': `
for n, when in enumerate([-2**31, 2**31, 2**33, 0, -1]):
    open(f"t{n}", "w").close(); os.utime(f"t{n}", (when, when))`,
  'three-thousand-deep': `
for n in range(3000): os.mkdir("d"); os.chdir("d")
open("bottom", "w").write("x")`,
  'a-thousand-beside-each-other': `
for n in range(1000): open(f"n{n}", "w").close()`,
} as const;

const NOT_KEPT = `
import socket
os.mkfifo("fifo")
s = socket.socket(socket.AF_UNIX); s.bind("socket")
for kind in (0o060666, 0o020666):
    try: os.mknod("device", kind, os.makedev(1, 1)); print("BREACH")
    except OSError: pass
open("kept", "w").write("x")`;

t.test('hostile trees', async (t) => {
  const world = await startService(t);
  const limits = { diskMb: 128 };
  const workspaces = join(world.dataDir, 'sandboxes', 'workspaces');
  const make = async (code: string) => {
    const session = await world.session({ limits });
    const made = await world.python(session.sessionId, `import os\n${code}`);
    t.equal(made.status, 'success', JSON.stringify(made.outputs));
    t.notMatch(made.outputs?.stdout, /BREACH/);
    return session.sessionId;
  };
  const describe = async (sessionId: string) => {
    const task = await world.python(sessionId, `import sys; sys.setrecursionlimit(20000)\n${DESCRIBE}`);
    return { status: task.status, stdout: task.outputs?.stdout, stderr: task.outputs?.stderr };
  };
  const checkpoint = async (sessionId: string) => {
    const { status, body } = await world.call<{ checkpointId: string }>(
      'POST',
      `/v1/sessions/${sessionId}/checkpoints`,
      {},
    );
    t.equal(status, 201, JSON.stringify(body));
    return body.checkpointId;
  };
  const restore = async (checkpointId: string) => {
    const { status, body } = await world.call<Session>('POST', `/v1/checkpoints/${checkpointId}/restore`, {
      mode: 'new',
    });
    t.equal(status, 201, JSON.stringify(body));
    return body.sessionId;
  };
  const remove = async (...sessionIds: string[]) => {
    for (const sessionId of sessionIds) {
      t.equal((await world.call('DELETE', `/v1/sessions/${sessionId}`)).status, 200);
    }
    t.same(readdirSync(workspaces), [], 'the tree is gone');
  };

  for (const [attack, code] of Object.entries(TREES)) {
    await t.test(`${attack}: comes back the same, and goes`, async (t) => {
      const sessionId = await make(code);
      const listed = await world.run(sessionId, 'fs.list', { path: '.', recursive: true, limit: 100 });
      t.ok(listed.status === 'success' || listed.ending?.code !== undefined, JSON.stringify(listed.ending));
      const restored = await restore(await checkpoint(sessionId));
      if (attack !== 'three-thousand-deep') {
        const [before, after] = [await describe(sessionId), await describe(restored)];
        t.equal(before.status, 'success', before.stderr as string);
        t.same(after, before);
      }
      const special = await world.run(restored, 'run.command', { command: 'find . -perm /7000' });
      t.equal(special.outputs?.stdout, '', 'no set-id bit came back');
      await remove(sessionId, restored);
    });
  }

  await t.test('no-files: FIFOs and sockets block nobody, devices cannot be made', async (t) => {
    const sessionId = await make(NOT_KEPT);
    for (const path of ['fifo', 'socket']) {
      const read = await world.run(sessionId, 'fs.read', { path }, { constraints: { timeoutSeconds: 20 } });
      t.match(read, { status: 'failure', ending: { cause: 'toolError', code: 'NOT_A_FILE' } });
    }
    const restored = await restore(await checkpoint(sessionId));
    t.equal(await world.readFile(restored, 'kept'), 'x');
    await remove(sessionId, restored);
  });

  await t.test('a-tree-that-changes: a checkpoint of it is whole, and restores', async (t) => {
    const sessionId = await make('');
    const swapping = await world.submit(
      sessionId,
      'run.python',
      {
        code: `
import os, signal
for number in (1, 2, 3, 15, 18): signal.signal(number, signal.SIG_IGN)
os.makedirs("out/deep"); open("out/deep/passwd", "w").write("mine")
print("racing", flush=True)
while True:
    os.rename("out", "was"); os.symlink("/etc", "out"); os.unlink("out"); os.rename("was", "out")
    open("grows", "ab").write(b"x" * 100)
`,
      },
      { background: true, constraints: { killGraceMs: 0 } },
    );
    for (let n = 0; n < 3; n += 1) {
      const restored = await restore(await checkpoint(sessionId));
      const found = await world.run(restored, 'run.command', {
        command: 'grep -rl root: . --include=passwd; true',
      });
      t.equal(found.outputs?.stdout, '', 'nothing of the host was packed');
      await world.call('DELETE', `/v1/sessions/${restored}`);
    }
    await world.call('POST', `/v1/tasks/${swapping.taskId}/cancel`, {});
    await remove(sessionId);
  });
});
