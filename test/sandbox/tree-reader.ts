import { execFileSync } from 'node:child_process';
import { appendFileSync, chmodSync, linkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { TreeEntry } from '../../src/sandbox/tree.js';
import { readTree } from '../../src/sandbox/tree-reader.js';
import { collectTree, treePrograms } from '../helpers/tree.js';

const { signal } = new AbortController();

const read = (root: string) => collectTree(readTree(treePrograms(root), signal));
const named = <E extends TreeEntry>(entries: E[], path: string) =>
  entries.find((entry) => entry.path.toString('latin1') === path);
const python = (code: string, ...args: string[]) =>
  execFileSync('/usr/bin/python3', ['-I', '-S', '-c', code, ...args]);

t.test('everything is told: contents, modes, times, links, empty directories', async (t) => {
  const root = t.testdir({ b: { 'x.txt': 'x' }, empty: {}, 'a.txt': 'contents' });
  python(
    `import os, sys
os.chdir(sys.argv[1])
os.symlink("../else/where", "link")
os.chmod("a.txt", 0o640); os.utime("a.txt", ns=(0, 1234567890123456789))
os.utime("b", ns=(0, -1))`,
    root,
  );
  const entries = await read(root);
  t.same(
    entries.map(({ path, type }) => `${type} ${path}`),
    ['file a.txt', 'directory b', 'file b/x.txt', 'directory empty', 'symlink link'],
  );
  t.match(named(entries, 'a.txt'), { mode: 0o640, mtimeNs: 1234567890123456789n, sizeBytes: 8 });
  t.equal(named(entries, 'a.txt')!.contents!.toString(), 'contents');
  t.equal(named(entries, 'b')!.mtimeNs, -1n);
  t.match(named(entries, 'link'), { target: Buffer.from('../else/where') });
});

t.test('fifo-hang: what is neither file, directory nor link is named and left out', async (t) => {
  const root = t.testdir({ a: '' });
  python(
    `import os, socket, sys
os.chdir(sys.argv[1]); os.mkfifo("fifo"); socket.socket(socket.AF_UNIX).bind("socket")`,
    root,
  );
  t.same(
    (await read(root)).map((entry) => (entry.type === 'skipped' ? entry.what : entry.type)),
    ['file', 'fifo', 'socket'],
  );
});

t.test('odd names: any bytes come through', async (t) => {
  const root = t.testdir({});
  python(
    `import os, sys
os.chdir(sys.argv[1].encode())
for name in (b"new\\nline", b"bad\\xff\\xfe", b"n" * 255, b"\\x01", b"C:\\\\x"): open(name, "w").close()
os.symlink(b"to\\xff\\n", b"link")`,
    root,
  );
  const entries = await read(root);
  t.same(
    entries.map((entry) => entry.path.toString('latin1')),
    ['\x01', 'C:\\x', 'bad\xff\xfe', 'link', 'new\nline', 'n'.repeat(255)],
  );
  t.match(named(entries, 'link'), { target: Buffer.from('to\xff\n', 'latin1') });
});

t.test('setuid bits are left behind, and hard links are files of their own', async (t) => {
  const root = t.testdir({ a: 'same' });
  linkSync(join(root, 'a'), join(root, 'b'));
  python('import os, sys; os.chmod(sys.argv[1], 0o6755)', join(root, 'a'));
  const entries = await read(root);
  t.same(
    entries.map((entry) => [entry.mode, entry.contents!.toString()]),
    [
      [0o755, 'same'],
      [0o755, 'same'],
    ],
  );
});

t.test('3000-deep: depth is no trouble', async (t) => {
  const root = t.testdir({});
  python(
    `import os, sys
os.chdir(sys.argv[1])
for _ in range(3000): os.mkdir("d"); os.chdir("d")
open("leaf", "w").close()`,
    root,
  );
  const entries = await read(root);
  t.equal(entries.length, 3001);
  t.equal(entries.at(-1)!.path.toString(), `${'d/'.repeat(3000)}leaf`);
  python(
    'import sys; sys.path.insert(0, sys.argv[1]); sys.argv[1:2] = ["remove"]; import tree; tree.main(*sys.argv[1:])',
    new URL('../../src/sandbox/python', import.meta.url).pathname,
    root,
  );
});

t.test('a file that shrinks or grows while it is read has the size that was announced', async (t) => {
  for (const [name, change] of [
    ['shrinks', (path: string) => truncateSync(path, 1_000_000)],
    ['grows', (path: string) => appendFileSync(path, 'more')],
  ] as const) {
    const root = t.testdir({ a: '' });
    const path = join(root, 'a');
    writeFileSync(path, Buffer.alloc(8_000_000, 7));
    for await (const entry of readTree(treePrograms(root), signal)) {
      if (entry.type !== 'file') continue;
      // Announced, and far from read: the pipe holds much less.
      change(path);
      let length = 0;
      for await (const piece of entry.body) length += piece.length;
      t.equal(length, 8_000_000, name);
      t.equal(entry.changedWhileReading, true, name);
    }
  }
});

t.test('a body that is not wanted is passed over', async (t) => {
  const root = t.testdir({ a: 'x'.repeat(500_000), b: 'b' });
  const paths: string[] = [];
  for await (const entry of readTree(treePrograms(root), signal)) paths.push(entry.path.toString());
  t.same(paths, ['a', 'b']);
});

t.test('leaving the loop, or aborting, ends the program that reads', async (t) => {
  const root = t.testdir({ a: 'x'.repeat(5_000_000), b: 'b' });
  const programs = treePrograms(root);
  for await (const _ of readTree(programs, signal)) break;
  t.equal(programs.running, 0);
  const abort = new AbortController();
  const reading = (async () => {
    for await (const _ of readTree(programs, abort.signal)) abort.abort(new Error('enough'));
  })();
  await t.rejects(reading, { message: /enough/ });
  t.equal(programs.running, 0);
});

t.test('a program that dies is an error, never a short tree', async (t) => {
  const root = t.testdir({ a: 'x'.repeat(300_000), b: '' });
  const dying = 'import os\nread = os.read\nos.read = lambda *a: os._exit(3)';
  await t.rejects(collectTree(readTree(treePrograms(root, dying), signal)), { message: /could not be read/ });
  const failing = 'import os\ndef fail(*a): raise OSError(5, "I/O error")\nos.read = fail';
  await t.rejects(collectTree(readTree(treePrograms(root, failing), signal)), { message: /I\/O error/ });
});

t.test('unreadable-dir: what may not be read is named, and the rest is there', async (t) => {
  if (process.getuid!() === 0) {
    const root = t.testdir({ shut: { a: '' }, open: '' });
    const denied = `
import os
real = os.open
def deny(path, flags, *a, **k):
    if path == b"shut": raise PermissionError(13, "denied")
    return real(path, flags, *a, **k)
os.open = deny`;
    const entries = await collectTree(readTree(treePrograms(root, denied), signal));
    t.same(
      entries.map((entry) => [entry.path.toString(), entry.type]),
      [
        ['open', 'file'],
        ['shut', 'directory'],
        ['shut', 'skipped'],
      ],
    );
    return;
  }
  const root = t.testdir({ shut: { a: '' }, open: '' });
  python('import os, sys; os.chmod(sys.argv[1], 0)', join(root, 'shut'));
  const entries = await read(root);
  chmodSync(join(root, 'shut'), 0o700);
  t.match(entries.at(-1), { type: 'skipped', what: 'unreadable' });
});
