import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { FileEntry, FileError, SandboxFiles } from '../../src/sandbox/sandbox.js';
import { until } from '../helpers/event-client.js';
import { startFileHelper } from '../helpers/file-helper.js';

const { signal } = new AbortController();
const write = { createDirs: true, append: false };
const MIB = 1024 * 1024;

function workspace(t: Test, content: Parameters<Test['testdir']>[0] = {}) {
  const root = t.testdir(content);
  return { root, ...startFileHelper(t, root) };
}

const read = async (files: SandboxFiles, path: string, range: { offset?: number; length?: number } = {}) =>
  (await files.read(path, { maxBytes: 64 * MIB, ...range }, signal)).bytes.toString();

const paths = (listing: { entries: FileEntry[] }) => listing.entries.map((entry) => entry.path);
const everything = { recursive: true, limit: 100_000 };

const refuses = (t: Test, work: Promise<unknown>, code: FileError['code'], message?: string) =>
  t.rejects(work, { code }, message ?? code);

const python = (code: string, ...args: string[]) =>
  execFileSync('/usr/bin/python3', ['-I', '-S', '-c', code, ...args]);

t.test('a file is written with its directories, read back, and told about', async (t) => {
  const { files, root } = workspace(t);
  const entry = await files.write('data/deep/test.txt', Buffer.from('test content'), write, signal);
  t.match(entry, {
    path: 'data/deep/test.txt',
    name: 'test.txt',
    type: 'file',
    sizeBytes: 12,
    mode: '0644',
  });
  t.equal(await read(files, 'data/deep/test.txt'), 'test content');
  t.equal(await read(files, '/workspace/data/./deep//test.txt'), 'test content');
  t.equal(readFileSync(join(root, 'data/deep/test.txt'), 'utf8'), 'test content');
  t.same(await files.stat('data/deep/test.txt', signal), entry);
  t.match(await files.stat('.', signal), { path: '.', name: '.', type: 'directory' });
});

t.test('a range is read as asked, and no more than is there', async (t) => {
  const { files } = workspace(t, { 'a.bin': '0123456789' });
  t.equal(await read(files, 'a.bin', { offset: 3, length: 4 }), '3456');
  t.equal(await read(files, 'a.bin', { offset: 8, length: 40 }), '89');
  t.equal(await read(files, 'a.bin', { offset: 99 }), '');
  const { sizeBytes } = await files.read('a.bin', { offset: 2, length: 1, maxBytes: 1 }, signal);
  t.equal(sizeBytes, 10, 'the size is that of the whole file');
});

t.test('a file larger than may be read at once is refused with its size', async (t) => {
  const { files } = workspace(t, { 'a.txt': '0123456789' });
  await t.rejects(files.read('a.txt', { maxBytes: 9 }, signal), {
    code: 'FILE_TOO_LARGE',
    message: /10 bytes.*offset and length/,
  });
});

t.test('10 MB arrive byte for byte, in pieces, with progress', async (t) => {
  const { files } = workspace(t);
  const body = Buffer.alloc(10 * MIB);
  for (let i = 0; i < body.length; i += 4) body.writeUInt32LE((i * 2_654_435_761) >>> 0, i);
  const progress: number[] = [];
  await files.write('big.bin', body, { ...write, onProgress: (bytes) => progress.push(bytes) }, signal);
  t.ok(progress.length > 10);
  t.same(
    progress,
    [...progress].sort((a, b) => a - b),
  );
  t.equal(progress.at(-1), body.length);
  const back = await files.read('big.bin', { maxBytes: 16 * MIB }, signal);
  t.ok(back.bytes.equals(body));
});

t.test('a replaced file keeps its mode, and its neighbours see no temporary file', async (t) => {
  const { files, root } = workspace(t, { 'run.sh': 'old' });
  chmodSync(join(root, 'run.sh'), 0o755);
  await files.write('run.sh', Buffer.from('new'), write, signal);
  t.equal(statSync(join(root, 'run.sh')).mode & 0o777, 0o755);
  t.same(readdirSync(root), ['run.sh']);
});

t.test('append adds to the end, and makes the file when there is none', async (t) => {
  const { files } = workspace(t);
  for (const text of ['one\n', 'two\n']) {
    await files.write('log/a.txt', Buffer.from(text), { createDirs: true, append: true }, signal);
  }
  t.equal(await read(files, 'log/a.txt'), 'one\ntwo\n');
});

t.test('writing says why it cannot', async (t) => {
  const { files, root } = workspace(t, { dir: { a: '' }, 'ro.txt': 'kept' });
  chmodSync(join(root, 'ro.txt'), 0o444);
  const to = (path: string, options = write) => files.write(path, Buffer.from('x'), options, signal);
  await refuses(t, to('dir'), 'NOT_A_FILE');
  await refuses(t, to('.'), 'NOT_A_FILE');
  await refuses(t, to('new/'), 'NOT_A_FILE');
  await refuses(t, to('dir/a/b'), 'NOT_A_DIRECTORY');
  await refuses(t, to('none/b', { createDirs: false, append: false }), 'FILE_NOT_FOUND');
  await refuses(t, to('ro.txt'), 'PERMISSION_DENIED');
  await refuses(t, to('n'.repeat(256)), 'NAME_TOO_LONG');
  await refuses(t, to(`${'p/'.repeat(2100)}a`), 'NAME_TOO_LONG');
  t.equal(await read(files, 'ro.txt'), 'kept');
  t.equal((await to('n'.repeat(255))).name.length, 255);
});

t.test('symlink-escape: no path leaves the workspace, by .., by a link or by an absolute path', async (t) => {
  const outside = t.testdir({ secret: 'canary', ws: { inside: { a: 'a' }, 'a.txt': 'a' } });
  const root = join(outside, 'ws');
  symlinkSync('/', join(root, 'slash'));
  symlinkSync('/etc/passwd', join(root, 'absolute'));
  symlinkSync('../secret', join(root, 'up'));
  symlinkSync('../../secret', join(root, 'inside/up2'));
  symlinkSync('inside/up2', join(root, 'chain'));
  symlinkSync('..', join(root, 'parent'));
  symlinkSync('/workspace/../etc', join(root, 'around'));
  const { files } = startFileHelper(t, root);
  const escapes = [
    ...['slash/etc/passwd', 'absolute', 'up', 'inside/up2', 'chain', 'parent/secret', 'around/passwd'],
    ...['../secret', 'inside/../../secret', '/etc/passwd', '/', '/workspace2', '/workspace/../secret'],
  ];
  for (const path of escapes) {
    await refuses(t, files.read(path, { maxBytes: 100 }, signal), 'PATH_OUTSIDE_WORKSPACE', `read ${path}`);
    await refuses(
      t,
      files.write(path, Buffer.from('x'), write, signal),
      'PATH_OUTSIDE_WORKSPACE',
      `write ${path}`,
    );
    await refuses(t, files.list(path, everything, signal), 'PATH_OUTSIDE_WORKSPACE', `list ${path}`);
  }
  await refuses(t, files.mkdir('parent/x', { parents: true }, signal), 'PATH_OUTSIDE_WORKSPACE');
  await refuses(t, files.remove('parent/secret', { recursive: true }, signal), 'PATH_OUTSIDE_WORKSPACE');
  await refuses(t, files.move('a.txt', 'parent/b', { overwrite: true }, signal), 'PATH_OUTSIDE_WORKSPACE');
  t.equal(readFileSync(join(outside, 'secret'), 'utf8'), 'canary');
  t.same(readdirSync(outside).sort(), ['secret', 'ws']);
  const listed = paths(await files.list('.', everything, signal));
  t.notOk(
    listed.some((path) => path.startsWith('slash/') || path.startsWith('parent/')),
    'listing follows no link',
  );
});

t.test('links that stay in the workspace are followed, also absolute ones', async (t) => {
  const { files, root } = workspace(t, { real: { 'a.txt': 'a' } });
  symlinkSync('real', join(root, 'link'));
  symlinkSync('/workspace/real/a.txt', join(root, 'absolute'));
  symlinkSync('real/new.txt', join(root, 'dangling'));
  t.equal(await read(files, 'link/a.txt'), 'a');
  t.equal(await read(files, 'link/../real/a.txt'), 'a');
  t.equal(await read(files, 'absolute'), 'a');
  t.equal((await files.write('dangling', Buffer.from('n'), write, signal)).path, 'real/new.txt');
  t.equal(readlinkSync(join(root, 'dangling')), 'real/new.txt', 'the link itself stays');
  t.match(await files.stat('link', signal), { type: 'symlink', target: 'real' });
  t.match(await files.stat('link/', signal), { type: 'directory', path: 'real' });
  t.same(paths(await files.list('link', everything, signal)), ['real/a.txt', 'real/new.txt']);
});

t.test('a loop of symlinks ends', async (t) => {
  const { files, root } = workspace(t);
  symlinkSync('b', join(root, 'a'));
  symlinkSync('a', join(root, 'b'));
  await refuses(t, files.read('a', { maxBytes: 1 }, signal), 'TOO_MANY_SYMLINKS');
});

t.test('dotdot: names that only begin with two dots are ordinary names', async (t) => {
  const { files } = workspace(t);
  await files.write('..data/..a', Buffer.from('legal'), write, signal);
  t.equal(await read(files, '..data/..a'), 'legal');
  t.same(paths(await files.list('.', everything, signal)), ['..data', '..data/..a']);
});

t.test('fifo-hang: FIFOs, sockets and devices are refused at once', async (t) => {
  const { files, root } = workspace(t, { 'a.txt': 'a' });
  python(
    `import os, socket, sys
os.chdir(sys.argv[1])
os.mkfifo("fifo")
socket.socket(socket.AF_UNIX).bind("socket")`,
    root,
  );
  for (const path of ['fifo', 'socket']) {
    await refuses(t, files.read(path, { maxBytes: 9 }, signal), 'NOT_A_FILE');
    await refuses(t, files.write(path, Buffer.from('x'), write, signal), 'NOT_A_FILE');
    await refuses(
      t,
      files.write(path, Buffer.from('x'), { createDirs: true, append: true }, signal),
      'NOT_A_FILE',
    );
    t.equal((await files.stat(path, signal)).type, 'other');
  }
});

t.test(
  'symlink-swap-race: while names are swapped for links nothing outside is read or written',
  async (t) => {
    const outside = t.testdir({ secret: { f: 'canary' }, ws: { dir: { f: 'inside' } } });
    const root = join(outside, 'ws');
    const { files } = startFileHelper(t, root);
    const swapper = startFileHelper(t, root, {
      setup: `
import os, sys, threading
def swap():
    os.chdir(sys.argv[2])
    os.symlink("../secret", "link")
    while True:
        os.rename("dir", "aside"); os.rename("link", "dir")
        os.rename("dir", "link"); os.rename("aside", "dir")
threading.Thread(target=swap, daemon=True).start()`,
    });
    await swapper.files.stat('.', signal);
    const seen = new Set<string>();
    for (let i = 0; i < 400; i++) {
      const text = await read(files, 'dir/f').catch((error: FileError) => error.code);
      seen.add(text);
      const dirsOnly = { createDirs: false, append: false };
      await files.write('dir/g', Buffer.from('mine'), dirsOnly, signal).catch(() => {});
    }
    await swapper.end();
    t.notOk(seen.has('canary'));
    t.ok(seen.has('inside'));
    t.same(readdirSync(join(outside, 'secret')), ['f']);
  },
);

t.test('a listing is sorted, says what things are, and stops at its limit while it counts on', async (t) => {
  const { files, root } = workspace(t, { b: { 'x.py': 'x', 'y.txt': 'yy' }, 'a.py': '', 'b.txt': '' });
  symlinkSync('nowhere', join(root, 'link'));
  t.same(paths(await files.list('.', { recursive: false, limit: 99 }, signal)), [
    ...['a.py', 'b', 'b.txt', 'link'],
  ]);
  const all = await files.list('', everything, signal);
  t.same(paths(all), ['a.py', 'b', 'b/x.py', 'b/y.txt', 'b.txt', 'link']);
  t.match(all.entries[3], { name: 'y.txt', type: 'file', sizeBytes: 2, mode: /^0\d{3}$/ });
  t.match(all.entries[5], { type: 'symlink', target: 'nowhere' });
  const some = await files.list('.', { recursive: true, limit: 2 }, signal);
  t.same(paths(some), ['a.py', 'b']);
  t.equal(some.totalCount, 6);
  await refuses(t, files.list('a.py', everything, signal), 'NOT_A_DIRECTORY');
  await refuses(t, files.list('none', everything, signal), 'FILE_NOT_FOUND');
});

t.test('patterns match names, or whole paths when they have a slash', async (t) => {
  const { files } = workspace(t, {
    src: { 'a.py': '', 'ab.py': '', sub: { deep: { 'a.py': '' } }, '.hidden.py': '' },
    'a.py': '',
    'b[1].txt': '',
  });
  const listed = async (pattern: string, path = '.') =>
    paths(await files.list(path, { ...everything, pattern }, signal));
  t.same(await listed('?.py'), ['a.py', 'src/a.py', 'src/sub/deep/a.py']);
  t.same(await listed('src/*.py'), ['src/.hidden.py', 'src/a.py', 'src/ab.py']);
  t.same(await listed('**/a.py'), ['a.py', 'src/a.py', 'src/sub/deep/a.py']);
  t.same(await listed('src/**'), [
    ...['src', 'src/.hidden.py', 'src/a.py', 'src/ab.py', 'src/sub', 'src/sub/deep', 'src/sub/deep/a.py'],
  ]);
  t.same(await listed('src/**/deep/*.py'), ['src/sub/deep/a.py']);
  t.same(await listed('*/*/*'), ['src/sub/deep']);
  t.same(await listed('[!a].py'), []);
  t.same(await listed('[a-c]?.py'), ['src/ab.py']);
  t.same(await listed('b[[]1].txt'), ['b[1].txt']);
  t.same(await listed('./*.py', 'src'), ['src/.hidden.py', 'src/a.py', 'src/ab.py']);
});

t.test('a pattern made to explode does not', async (t) => {
  const { files } = workspace(t, { ['a'.repeat(200)]: '' });
  const pattern = `${'*a'.repeat(60)}b`;
  t.same(await files.list('.', { ...everything, pattern }, signal), {
    ...{ entries: [], totalCount: 0, unreadableCount: 0 },
  });
  const slashes = `${'**/a/'.repeat(60)}b`;
  t.equal((await files.list('.', { ...everything, pattern: slashes }, signal)).totalCount, 0);
});

t.test('odd names: newlines, bytes that are no UTF-8, 255 bytes', async (t) => {
  const { files, root } = workspace(t);
  python(
    `import os, sys
os.chdir(sys.argv[1].encode())
for name in (b"new\\nline", b"bad\\xff\\xfe", b"n" * 255, b" space ", b"back\\\\slash"): open(name, "w").close()
os.symlink(b"to\\xff", b"link")`,
    root,
  );
  const listing = await files.list('.', everything, signal);
  t.same(
    new Set(listing.entries.map((entry) => entry.name)),
    new Set(['new\nline', 'bad\ufffd\ufffd', 'n'.repeat(255), ' space ', 'back\\slash', 'link']),
  );
  t.equal(listing.entries.find((entry) => entry.name === 'link')?.target, 'to\ufffd');
  t.equal(await read(files, 'new\nline'), '');
  await refuses(t, files.read('bad\udcff\udcfe', { maxBytes: 1 }, signal), 'FILE_NOT_FOUND');
  await refuses(t, files.read('a\0b', { maxBytes: 1 }, signal), 'FILE_NOT_FOUND');
});

t.test('mtime extremes are shown as the nearest time RFC 3339 can say', async (t) => {
  // Only tmpfs keeps such times.
  const huge = join('/dev/shm', `h2-mtime-${process.pid}`);
  mkdirSync(huge);
  t.teardown(() => rmSync(huge, { recursive: true }));
  python(
    `import os, sys
for name, seconds in (("future", 2**55), ("ancient", -2**55), ("past", -1000.5)):
    path = os.path.join(sys.argv[1], name); open(path, "w").close(); os.utime(path, ns=(0, int(seconds * 10**9)))`,
    huge,
  );
  const extremes = startFileHelper(t, huge).files;
  t.equal((await extremes.stat('past', signal)).modifiedAt, '1969-12-31T23:43:19.500Z');
  t.equal((await extremes.stat('future', signal)).modifiedAt, '9999-12-31T23:59:59.999Z');
  t.equal((await extremes.stat('ancient', signal)).modifiedAt, '0001-01-01T00:00:00.000Z');
});

t.test('3000-deep: a tree of 3,000 levels is listed and removed', async (t) => {
  const { files, root } = workspace(t, { keep: '' });
  python(
    `import os, sys
os.chdir(sys.argv[1]); os.mkdir("top"); os.chdir("top")
for _ in range(3000): os.mkdir("d"); os.chdir("d")
open("leaf", "w").close()`,
    root,
  );
  const listing = await files.list('top', { recursive: true, pattern: 'leaf', limit: 10 }, signal);
  t.equal(listing.entries[0]?.path, `top/${'d/'.repeat(3000)}leaf`);
  t.equal((await files.list('top', { recursive: true, limit: 1 }, signal)).totalCount, 3001);
  await files.remove('top', { recursive: true }, signal);
  t.same(readdirSync(root), ['keep']);
});

t.test('a huge listing holds up no other operation', async (t) => {
  const { files, root } = workspace(t, { 'a.txt': 'a' });
  python(
    `import os, sys
for n in range(6):
    d = os.path.join(sys.argv[1], "d%d" % n); os.mkdir(d)
    for m in range(1000): os.close(os.open(os.path.join(d, str(m)), os.O_CREAT))`,
    root,
  );
  let listed = false;
  const listing = files.list('.', everything, signal).then((found) => {
    listed = true;
    return found;
  });
  t.equal(await read(files, 'a.txt'), 'a');
  t.notOk(listed, 'the small read was answered first');
  t.equal((await listing).totalCount, 6_007);
});

t.test('directories are made; an existing one is fine with parents, and an error without', async (t) => {
  const { files, root } = workspace(t, { file: '' });
  t.match(await files.mkdir('a/b/c', { parents: true }, signal), { path: 'a/b/c', type: 'directory' });
  await files.mkdir('a/b/c', { parents: true }, signal);
  await refuses(t, files.mkdir('a/b/c', { parents: false }, signal), 'FILE_EXISTS');
  await refuses(t, files.mkdir('x/y', { parents: false }, signal), 'FILE_NOT_FOUND');
  await refuses(t, files.mkdir('file', { parents: true }, signal), 'FILE_EXISTS');
  t.equal(statSync(join(root, 'a/b/c')).mode & 0o777, 0o755);
});

t.test('a move never replaces unless asked, and then in one step', async (t) => {
  const { files, root } = workspace(t, { a: 'a', b: 'b', dir: { x: '' }, full: { y: '' } });
  const move = (from: string, to: string, overwrite = false) => files.move(from, to, { overwrite }, signal);
  await refuses(t, move('a', 'b'), 'FILE_EXISTS');
  t.match(await move('a', 'b', true), { path: 'b', sizeBytes: 1 });
  t.equal(await read(files, 'b'), 'a');
  t.match(await move('dir', 'moved'), { path: 'moved', type: 'directory' });
  await refuses(t, move('moved', 'full', true), 'DIRECTORY_NOT_EMPTY');
  await t.rejects(move('none', 'c'), { code: 'FILE_NOT_FOUND', message: /"none"/ });
  await t.rejects(move('b', 'none/c'), { code: 'FILE_NOT_FOUND', message: /"none\/c"/ });
  await t.rejects(move('moved', 'moved/in'), { code: 'FILE_ERROR', message: /into itself/ });
  await refuses(t, move('.', 'c'), 'PERMISSION_DENIED');
  await refuses(t, move('b', '.'), 'FILE_EXISTS');
  symlinkSync('nowhere', join(root, 'link'));
  t.match(await move('link', 'link2'), { type: 'symlink', target: 'nowhere' });
});

t.test('a link is removed, never what it points to', async (t) => {
  const { files, root } = workspace(t, { dir: { a: '' } });
  symlinkSync('dir', join(root, 'link'));
  await refuses(t, files.remove('dir', { recursive: false }, signal), 'DIRECTORY_NOT_EMPTY');
  await refuses(t, files.remove('.', { recursive: true }, signal), 'PERMISSION_DENIED');
  t.match(await files.remove('link', { recursive: true }, signal), { type: 'symlink' });
  t.ok(existsSync(join(root, 'dir/a')));
  t.match(await files.remove('dir', { recursive: true }, signal), { path: 'dir', type: 'directory' });
  await refuses(t, files.remove('dir', { recursive: true }, signal), 'FILE_NOT_FOUND');
});

t.test('unreadable-dir: listed around, and removed by its owner', async (t) => {
  const root = t.testdir({});
  if (process.getuid!() === 0) {
    // Root may read everything, so the helper gives up being root.
    chmodSync(root, 0o777);
  }
  const setup = 'import os\nif os.getuid() == 0: os.setgroups([]); os.setgid(1001); os.setuid(1001)';
  const { files } = startFileHelper(t, root, { setup });
  if (process.getuid!() === 0 && !canBeReached(root)) {
    t.pass('cannot be tried: the test directory is not reachable for another user');
    return;
  }
  await files.write('shut/in/a.txt', Buffer.from('a'), write, signal);
  await files.write('open/b.txt', Buffer.from('b'), write, signal);
  chmodSync(join(root, 'shut/in'), 0o000);
  chmodSync(join(root, 'shut'), 0o555);
  await refuses(t, files.list('shut/in', everything, signal), 'PERMISSION_DENIED');
  const listing = await files.list('.', everything, signal);
  t.same(paths(listing), ['open', 'open/b.txt', 'shut', 'shut/in']);
  t.equal(listing.unreadableCount, 1);
  await files.remove('shut', { recursive: true }, signal);
  t.same(readdirSync(root), ['open']);
});

function canBeReached(path: string): boolean {
  for (let at = path; at !== '/'; at = join(at, '..')) if ((lstatSync(at).mode & 0o001) === 0) return false;
  return true;
}

t.test('an aborted write leaves the old contents and no other file', async (t) => {
  const { files, root, children } = workspace(t, { 'a.bin': 'old' });
  const abort = new AbortController();
  const writing = files.write(
    'a.bin',
    Buffer.alloc(64 * MIB),
    { ...write, onProgress: () => abort.abort(new Error('enough')) },
    abort.signal,
  );
  await t.rejects(writing, { message: 'enough' });
  t.equal(readFileSync(join(root, 'a.bin'), 'utf8'), 'old');
  t.same(readdirSync(root), ['a.bin']);
  t.equal(await read(files, 'a.bin'), 'old');
  t.equal(children.length, 1, 'the helper was not killed for it');
  await t.rejects(files.stat('a.bin', abort.signal), { message: 'enough' });
});

t.test('an aborted append leaves nothing of it', async (t) => {
  const { files, root } = workspace(t, { 'a.log': 'old' });
  const abort = new AbortController();
  const options = { createDirs: true, append: true, onProgress: () => abort.abort(new Error('enough')) };
  await t.rejects(files.write('a.log', Buffer.alloc(64 * MIB), options, abort.signal), { message: 'enough' });
  t.equal(readFileSync(join(root, 'a.log'), 'utf8'), 'old');
});

t.test(
  'an operation that hangs is stopped by killing the helper, and the next one gets a new helper',
  async (t) => {
    const root = t.testdir({ 'a.txt': 'a', stuck: 's' });
    const setup = `
import os, threading
pread = os.pread
def slow(fd, length, offset):
    threading.Event().wait() if pread(fd, 1, 0) == b"s" else None
    return pread(fd, length, offset)
os.pread = slow`;
    const { files, children } = startFileHelper(t, root, { setup });
    const abort = new AbortController();
    const stuck = files.read('stuck', { maxBytes: 9 }, abort.signal);
    t.equal(await read(files, 'a.txt'), 'a', 'others go on');
    abort.abort(new Error('too long'));
    await t.rejects(stuck, { message: 'too long' });
    t.equal(await read(files, 'a.txt'), 'a');
    t.equal(children.length, 2);
  },
);

t.test('a helper that dies under an operation is an error that says so, and is replaced', async (t) => {
  const root = t.testdir({ 'a.txt': 'a' });
  const setup = 'import os\npread = os.pread\nos.pread = lambda *a: os._exit(9)';
  const { files, children } = startFileHelper(t, root, { setup });
  await t.rejects(files.read('a.txt', { maxBytes: 9 }, signal), {
    code: 'FILE_ERROR',
    message: /ended before/,
  });
  t.match(await files.stat('a.txt', signal), { type: 'file' });
  t.equal(children.length, 2);
});

t.test('a helper that lies is not believed', async (t) => {
  const root = t.testdir({ 'a.txt': 'a' });
  const setup = `
import sys
sys.path.insert(0, sys.argv[1])
import file_operations as o
def flood(root, operation, request):
    for _ in range(100): operation.send("B", b"x" * 100)
    return {"sizeBytes": 1}
o.OPERATIONS["read"] = flood
o.OPERATIONS["stat"] = lambda *a: {"path": 1}
o.OPERATIONS["mkdir"] = lambda *a: [1]
o.OPERATIONS["list"] = lambda *a: {"totalCount": "many", "unreadableCount": 0}`;
  const { files } = startFileHelper(t, root, { setup });
  await t.rejects(files.read('a.txt', { maxBytes: 1000 }, signal), { message: /makes no sense/ });
  await t.rejects(files.stat('a.txt', signal), { message: /makes no sense/ });
  await t.rejects(files.mkdir('a', { parents: true }, signal), { message: /makes no sense/ });
  await t.rejects(files.list('.', everything, signal), { message: /makes no sense/ });
});

t.test('a full disk is DISK_FULL, and the old contents stay', async (t) => {
  const root = t.testdir({ 'a.bin': 'old' });
  const setup = 'import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))';
  const { files } = startFileHelper(t, root, { setup });
  await refuses(t, files.write('a.bin', Buffer.alloc(4 * MIB), write, signal), 'DISK_FULL');
  t.same(readdirSync(root), ['a.bin']);
  t.equal(await read(files, 'a.bin'), 'old');
});

t.test('a sparse giant is read in ranges without being held in memory', async (t) => {
  const { files, root } = workspace(t);
  python(
    'import os, sys\nos.truncate(os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY), 1 << 40)',
    join(root, 'giant'),
  );
  await refuses(t, files.read('giant', { maxBytes: 100 }, signal), 'FILE_TOO_LARGE');
  const { bytes, sizeBytes } = await files.read(
    'giant',
    { offset: 2 ** 39, length: 3, maxBytes: 100 },
    signal,
  );
  t.ok(bytes.equals(Buffer.alloc(3)));
  t.equal(sizeBytes, 2 ** 40);
});

t.test('what the helper is given to write goes into a file, whatever it is', async (t) => {
  const { files, root } = workspace(t);
  await files.write('empty', Buffer.alloc(0), write, signal);
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  await files.write('bytes', bytes, write, signal);
  t.equal(statSync(join(root, 'empty')).size, 0);
  t.ok(readFileSync(join(root, 'bytes')).equals(bytes));
  writeFileSync(join(root, 'big'), Buffer.alloc(3 * MIB, 7));
  t.equal((await files.read('big', { maxBytes: 4 * MIB }, signal)).bytes.length, 3 * MIB);
});

t.test('an operation that does not stop takes no other with it', async (t) => {
  const setup = `
import os, time
scandir, pread = os.scandir, os.pread
os.scandir = lambda *a: (time.sleep(60), scandir(*a))[1]
def slow(*a):
    while not os.path.exists('go'): time.sleep(.01)
    return pread(*a)
os.pread = slow
`;
  const root = t.testdir({ 'a.txt': 'read', dir: {} });
  const { files, children } = startFileHelper(t, root, {
    setup: `import os\nos.chdir(${JSON.stringify(root)})\n${setup}`,
  });
  const ending = new AbortController();
  const listed = files.list('dir', everything, ending.signal);
  const reading = read(files, 'a.txt');
  await until(() => children.length === 1);
  ending.abort(new Error('cancelled'));
  // Longer than it may go on before the helper is taken away from it.
  await new Promise((resolve) => setTimeout(resolve, 800));
  t.match(await files.stat('a.txt', signal), { type: 'file' }, 'new work goes to another helper');
  t.equal(children.length, 2);
  t.equal(children[0]!.signalCode, null, 'the first one has work to finish');
  writeFileSync(join(root, 'go'), '');
  t.equal(await reading, 'read');
  await t.rejects(listed, { message: 'cancelled' });
  t.equal(children[0]!.signalCode ?? 'SIGKILL', 'SIGKILL', 'and ends when nobody waits for it any more');
});

t.test('an operation that waits for its turn is cancelled at once', async (t) => {
  const root = t.testdir({ 'a.txt': 'read', dir: {} });
  const setup = `
import os, time
pread = os.pread
def slow(*a):
    while not os.path.exists(${JSON.stringify(join(root, 'go'))}): time.sleep(.01)
    return pread(*a)
os.pread = slow
`;
  const { files, children } = startFileHelper(t, root, { setup });
  // As many as a helper has threads.
  const reading = Array.from({ length: 6 }, () => read(files, 'a.txt'));
  const ending = new AbortController();
  const waiting = files.stat('a.txt', ending.signal);
  await until(() => children.length === 1);
  ending.abort(new Error('cancelled'));
  await t.rejects(waiting, { message: 'cancelled' });
  t.equal(children[0]!.signalCode, null);
  writeFileSync(join(root, 'go'), '');
  t.same(
    await Promise.all(reading),
    Array.from({ length: 6 }, () => 'read'),
  );
  t.equal(children.length, 1);
});
