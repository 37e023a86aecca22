import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { gunzipSync, gzipSync } from 'node:zlib';
import t, { type Test } from 'tap';
import { writeArchive } from '../../src/checkpoints/archive-file.js';
import { type ExpectedArchive, unpackTree } from '../../src/checkpoints/archive-read.js';
import { packEntries } from '../../src/checkpoints/archive-write.js';
import { Survey } from '../../src/checkpoints/survey.js';
import { TarSurvey } from '../../src/checkpoints/tar-survey.js';
import type { TreeEntry } from '../../src/sandbox/tree.js';
import { packTree } from '../../src/sandbox/tree-pack.js';
import { readTree } from '../../src/sandbox/tree-reader.js';
import { writeTree } from '../../src/sandbox/tree-writer.js';
import {
  collectTree,
  describeTree,
  directory,
  entriesOf,
  file,
  symlink,
  treePrograms,
} from '../helpers/tree.js';

const { signal } = new AbortController();

async function packed(t: Test, entries: AsyncIterable<TreeEntry>, dir = t.testdir({})) {
  const path = join(dir, 'a.tar.gz');
  await pipeline(packEntries(entries), createWriteStream(path));
  const sha256 = createHash('sha256').update(readFileSync(path)).digest('hex');
  return { path, sha256 };
}

const unpack = (path: string, changes: Partial<ExpectedArchive> = {}, stop = signal) =>
  unpackTree(
    createReadStream(path),
    {
      sha256: createHash('sha256').update(readFileSync(path)).digest('hex'),
      maxBytes: 1e9,
      maxEntries: 1e6,
      ...changes,
    },
    stop,
  );

t.test('a tree comes back as it went in, whatever its names, modes and times are', async (t) => {
  const dir = t.testdir({ from: {}, to: {} });
  execFileSync('/usr/bin/python3', [
    '-c',
    `import os, sys
os.chdir(sys.argv[1].encode())
os.makedirs("a/b/c"); os.mkdir("empty")
names = [b"new\\nline", b"bad\\xff\\xfe", b"bad\\xff\\xfd", b"n" * 255, b"\\x01", b"C:\\\\x", b"end\\\\", b" ", b"-rf", b"%41", b"codegen-worker 777 0 x"]
names.append(b"x\\n38 comment=codegen-worker 777 0 spoof")
for name in names: open(name, "wb").write(name * 3)
open("a/big", "wb").write(os.urandom(1_000_003)); open("a/none", "w").close()
open("a/b/exec", "w").write("#!/bin/sh"); os.chmod("a/b/exec", 0o755)
open("a/b/shut", "w").write("x")
os.symlink("/usr/bin/python3", "python"); os.symlink("../..", "a/b/up"); os.symlink(b"dang\\xff\\n ling", "dangling")
os.makedirs("deep/" + "/".join(["l" * 250] * 12))
os.utime("a/b/exec", ns=(0, 1234567890123456789)); os.utime("dangling", ns=(0, -5), follow_symlinks=False)
os.utime("a/big", ns=(0, -1500000000)); os.utime("empty", ns=(0, 2**33 * 10**9)); os.chmod("empty", 0o500)
# Only root reads these without the capabilities that the sandbox has.
if os.getuid() == 0: os.chmod("a/b/shut", 0); os.chmod("a/b/c", 0)`,
    join(dir, 'from'),
  ]);
  const from = treePrograms(join(dir, 'from'));
  async function* asCheckpoint() {
    const tar = new TarSurvey(new Survey());
    for await (const chunk of packTree(from, signal)) yield tar.push(chunk);
    tar.end();
  }
  const checkpoint = join(dir, 'checkpoint.tar.gz');
  await writeArchive(asCheckpoint(), createWriteStream(checkpoint), signal);
  const download = await packed(t, readTree(from, signal), dir);
  for (const path of [checkpoint, download.path]) {
    await writeTree(treePrograms(join(dir, 'to')), unpack(path), signal);
    t.same(describeTree(join(dir, 'to')), describeTree(join(dir, 'from')));
    t.equal(describeTree(join(dir, 'to')).length, 36);
  }
  execFileSync('chmod', ['-R', 'u+rwx', dir]);
});

t.test('a sparse giant, which compresses more than a thousandfold, comes back', async (t) => {
  const { path } = await packed(t, entriesOf(file('giant', Buffer.alloc(30_000_000))));
  t.equal((await collectTree(unpack(path)))[0]!.contents!.length, 30_000_000);
});

t.test('bodies that nobody reads are passed over', async (t) => {
  const { path } = await packed(
    t,
    entriesOf(file('a', Buffer.alloc(3_000_000, 1)), directory('d'), file('d/b', 'b'), symlink('l', 'x')),
  );
  const paths: string[] = [];
  for await (const entry of unpack(path)) paths.push(entry.path.toString());
  t.same(paths, ['a', 'd', 'd/b', 'l']);
});

t.test('damage is an error, wherever it is', async (t) => {
  const { path, sha256 } = await packed(t, entriesOf(file('a', 'x'.repeat(100_000)), file('b', 'b')));
  const whole = readFileSync(path);
  const damaged = `${path}.damaged`;
  for (let at = 20; at < whole.length; at += Math.ceil(whole.length / 40)) {
    const bytes = Buffer.from(whole);
    bytes[at]! ^= 0x10;
    writeFileSync(damaged, bytes);
    await t.rejects(collectTree(unpack(damaged, { sha256 })), `flipped at ${at}`);
    writeFileSync(damaged, whole.subarray(0, at));
    await t.rejects(collectTree(unpack(damaged, { sha256 })), `cut at ${at}`);
  }
  await t.rejects(collectTree(unpack(path, { sha256: '0'.repeat(64) })), { message: /not 0000/ });
});

t.test('archives of others are refused, and so is more than was put in', async (t) => {
  const dir = t.testdir({ a: 'a', foreign: '' });
  execFileSync('tar', ['-czf', join(dir, 'foreign'), '-C', dir, 'a']);
  await t.rejects(collectTree(unpack(join(dir, 'foreign'))), { message: /not written by us/ });
  const { path } = await packed(t, entriesOf(file('a', 'aaa'), file('b', 'bbb')), dir);
  await t.rejects(collectTree(unpack(path, { maxBytes: 5 })), { message: /more than was put/ });
  await t.rejects(collectTree(unpack(path, { maxEntries: 1 })), { message: /more than was put/ });
  // A hard link out of the workspace, made of an entry of ours.
  const tar = gunzipSync(readFileSync(path));
  const header = tar.indexOf('PaxHeader', 1024);
  const changed = asHardLink(tar, header);
  writeFileSync(join(dir, 'hard'), gzipSync(changed));
  await t.rejects(collectTree(unpack(join(dir, 'hard'))));
});

/** The entry whose header begins here, with its type changed and its checksum right. */
function asHardLink(tar: Buffer, at: number): Buffer {
  const bytes = Buffer.from(tar);
  bytes[at + 156] = '1'.charCodeAt(0);
  bytes.write('/etc/passwd', at + 157);
  bytes.fill(' ', at + 148, at + 156);
  const sum = bytes.subarray(at, at + 512).reduce((total, byte) => total + byte, 0);
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148);
  return bytes;
}

t.test('leaving the loop, or aborting, closes the file', async (t) => {
  const { path } = await packed(t, entriesOf(file('a', Buffer.alloc(3_000_000)), file('b', 'b')));
  const source = createReadStream(path);
  const any = { sha256: '', maxBytes: 1e9, maxEntries: 9 };
  for await (const _ of unpackTree(source, any, signal)) break;
  t.ok(source.destroyed);
  const abort = new AbortController();
  const reading = (async () => {
    for await (const _ of unpack(path, {}, abort.signal)) abort.abort(new Error('enough'));
  })();
  await t.rejects(reading, { message: 'enough' });
});
