import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, readFileSync, statSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { TreeEntry } from '../../src/sandbox/tree.js';
import { readTree } from '../../src/sandbox/tree-reader.js';
import { removeTree, writeTree } from '../../src/sandbox/tree-writer.js';
import { describeTree, directory, entriesOf, file, symlink, treePrograms } from '../helpers/tree.js';

const { signal } = new AbortController();

const python = (code: string, ...args: string[]) =>
  execFileSync('/usr/bin/python3', ['-I', '-S', '-c', code, ...args]);

const write = (root: string, ...entries: TreeEntry[]) =>
  writeTree(treePrograms(root), entriesOf(...entries), signal);

const copy = (from: string, to: string) =>
  writeTree(treePrograms(to), readTree(treePrograms(from), signal), signal);

const refuses = (t: Test, work: Promise<unknown>, code: string) => t.rejects(work, { code });

t.test('a copy of a tree is the tree: contents, modes, nanoseconds, odd names, links', async (t) => {
  const { from, to } = twoDirectories(t);
  python(
    `import os, sys
os.chdir(sys.argv[1].encode())
os.makedirs("a/b/c"); os.mkdir("empty")
for name in (b"new\\nline", b"bad\\xff\\xfe", b"n" * 255, b"\\x01", b"C:\\\\x", b" ", b"-rf"): open(name, "wb").write(name * 3)
open("a/big", "wb").write(os.urandom(1_000_003))
open("a/b/exec", "w").write("#!/bin/sh"); os.chmod("a/b/exec", 0o755)
open("a/b/shut", "w").write("x"); open("a/b/writeonly", "w").write("x")
os.symlink("/usr/bin/python3", "python"); os.symlink("../..", "a/b/up"); os.symlink(b"dang\\xffling", "dangling")
os.symlink("b", "a/dirlink")
os.utime("a/b/exec", ns=(0, 1234567890123456789)); os.utime("dangling", ns=(0, -5), follow_symlinks=False)
os.utime("a/b", ns=(0, 987654321)); os.utime("empty", ns=(0, 2**33 * 10**9)); os.chmod("empty", 0o500)
# Only root reads these without the capabilities that the sandbox has.
if os.getuid() == 0: os.chmod("a/b/shut", 0); os.chmod("a/b/writeonly", 0o222); os.chmod("a/b/c", 0)
os.chmod("a/b", 0o555)`,
    from,
  );
  await copy(from, to);
  t.same(describeTree(to), describeTree(from));
  allow(from, to);
});

t.test('what was there before is gone', async (t) => {
  const root = t.testdir({ old: { deep: { a: '' } }, '.venv': { cfg: 'old' } });
  chmodSync(join(root, 'old/deep'), 0);
  await write(root, directory('.venv'), file('.venv/cfg', 'new'));
  t.same(readdirSync(root), ['.venv']);
  t.equal(readFileSync(join(root, '.venv/cfg'), 'utf8'), 'new');
});

t.test('path-traversal: no entry leaves the workspace, and none goes through a link', async (t) => {
  const outside = t.testdir({ ws: {}, target: { a: 'canary' } });
  const root = join(outside, 'ws');
  for (const path of ['../a', 'd/../../a', '/tmp/a', '.', '..', '', 'a//b', 'a/']) {
    await refuses(t, write(root, directory('d'), file(path, 'x')), 'PATH_OUTSIDE_WORKSPACE');
  }
  await refuses(t, write(root, symlink('l', '../target'), file('l/a', 'x')), 'NOT_A_DIRECTORY');
  await refuses(t, write(root, symlink('l', '../target/a'), file('l', 'x')), 'FILE_EXISTS');
  await refuses(t, write(root, symlink('l', '../target'), directory('l')), 'FILE_EXISTS');
  await refuses(t, write(root, file('twice', '1'), file('twice', '2')), 'FILE_EXISTS');
  await refuses(t, write(root, file('no/parent', 'x')), 'FILE_NOT_FOUND');
  t.equal(readFileSync(join(outside, 'target/a'), 'utf8'), 'canary');
  t.same(readdirSync(join(outside, 'target')), ['a']);
});

t.test('a sparse giant takes as little room as before', async (t) => {
  const { from, to } = twoDirectories(t);
  python(
    `import os, sys
fd = os.open(sys.argv[1] + "/giant", os.O_CREAT | os.O_WRONLY)
os.pwrite(fd, b"middle", 60_000_000); os.truncate(fd, 120_000_000)`,
    from,
  );
  await copy(from, to);
  t.same(describeTree(to), describeTree(from));
  t.ok(statSync(join(to, 'giant')).blocks * 512 < 1_000_000);
});

t.test('3000-deep: written and removed again', async (t) => {
  const root = t.testdir({});
  async function* deep() {
    for (let depth = 1; depth <= 3000; depth++) yield directory('d/'.repeat(depth).slice(0, -1), 0o500);
    yield file(`${'d/'.repeat(3000)}leaf`, 'leaf');
  }
  await writeTree(treePrograms(root), deep(), signal);
  t.equal(statSync(join(root, 'd/d/d')).mode & 0o777, 0o500);
  let count = 0;
  for await (const _ of readTree(treePrograms(root), signal)) count++;
  t.equal(count, 3001);
  await removeTree(treePrograms(root), signal);
  t.same(readdirSync(root), []);
});

t.test('unreadable-dir: a tree that nobody may read is removed', async (t) => {
  const root = t.testdir({ a: { b: { c: '' } }, 'x.txt': '' });
  python(
    `import os, sys
os.chdir(sys.argv[1])
os.mkfifo("a/fifo"); os.symlink("/", "a/slash"); open(b"a/bad\\xff", "w").close()
os.chmod("a/b", 0); os.chmod("a", 0o111)`,
    root,
  );
  await removeTree(treePrograms(root), signal);
  t.same(readdirSync(root), []);
  t.ok(existsSync('/usr'));
});

t.test('links at the top are removed as links', async (t) => {
  const outside = t.testdir({ ws: {}, kept: { a: '' } });
  symlinkSync('../kept', join(outside, 'ws/link'));
  await removeTree(treePrograms(join(outside, 'ws')), signal);
  t.same(readdirSync(join(outside, 'kept')), ['a']);
});

t.test('a full disk is DISK_FULL', async (t) => {
  const root = t.testdir({});
  const programs = treePrograms(
    root,
    'import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))',
  );
  const big = entriesOf(file('a', 'x'), file('big', Buffer.alloc(30_000_000, 1)));
  await t.rejects(writeTree(programs, big, signal), { code: 'DISK_FULL', message: /"big"/ });
  t.equal(programs.running, 0);
});

t.test('a source that fails, lies about a size, or is aborted ends the writer', async (t) => {
  const root = t.testdir({});
  const programs = treePrograms(root);
  async function* failing() {
    yield file('a', 'a');
    throw new Error('the source broke');
  }
  await t.rejects(writeTree(programs, failing(), signal), { message: 'the source broke' });
  for (const sizeBytes of [1, 3]) {
    const lying = { ...file('a', 'aa'), sizeBytes } as TreeEntry;
    await t.rejects(writeTree(programs, entriesOf(lying), signal), { message: /a body is not/ });
  }
  const abort = new AbortController();
  async function* aborting() {
    yield file('a', 'a');
    abort.abort(new Error('enough'));
    yield file('b', Buffer.alloc(5_000_000));
  }
  await t.rejects(writeTree(programs, aborting(), abort.signal), { message: 'enough' });
  t.equal(programs.running, 0);
});

function twoDirectories(t: Test) {
  const both = t.testdir({ from: {}, to: {} });
  return { from: join(both, 'from'), to: join(both, 'to') };
}

/** So that an ordinary user can take the fixtures down. */
function allow(...roots: string[]) {
  for (const root of roots) execFileSync('chmod', ['-R', 'u+rwx', root]);
}
