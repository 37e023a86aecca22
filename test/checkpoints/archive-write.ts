import { execFileSync, spawnSync } from 'node:child_process';
import { createWriteStream, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { packEntries } from '../../src/checkpoints/archive-write.js';
import type { TreeEntry } from '../../src/sandbox/tree.js';
import { readTree } from '../../src/sandbox/tree-reader.js';
import { until } from '../helpers/event-client.js';
import { describeTree, directory, entriesOf, file, symlink, treePrograms } from '../helpers/tree.js';

const { signal } = new AbortController();

const pack = (entries: AsyncIterable<TreeEntry>, path: string) =>
  pipeline(packEntries(entries), createWriteStream(path));

t.test('the archive is an ordinary .tar.gz: GNU tar restores it, times and odd names included', async (t) => {
  const dir = t.testdir({ from: { a: { 'x.txt': 'x'.repeat(3_000_000) }, 'b.txt': 'b' }, to: {} });
  const [from, to, archive] = [join(dir, 'from'), join(dir, 'to'), join(dir, 'a.tar.gz')];
  execFileSync('/usr/bin/python3', [
    '-c',
    `import os, sys
os.chdir(sys.argv[1])
os.symlink("/usr/bin/python3", "python"); os.symlink("../..", "a/up")
for name in ("new\\nline", "C:drive", "back\\\\slash", "ends\\\\", " space", "ü" * 100, "n" * 255, "..data"): open(name, "w").write(name)
os.makedirs("l" * 200 + "/" + "m" * 200)
os.chmod("b.txt", 0o400); os.chmod("a", 0o750)
os.utime("b.txt", ns=(0, 1234567890123456789)); os.utime("a", ns=(0, 4000000000 * 10**9))
os.utime("python", ns=(0, 17), follow_symlinks=False)`,
    from,
  ]);
  await pack(readTree(treePrograms(from), signal), archive);
  const quiet = ['--no-same-owner', '--warning=no-timestamp'];
  const tar = spawnSync('tar', ['-xpzf', archive, ...quiet, '-C', to], { encoding: 'utf8' });
  t.equal(tar.stderr, '', 'without a warning');
  t.same(describeTree(to), describeTree(from));
});

t.test('names that are no UTF-8, and times out of range, do not break the archive for others', async (t) => {
  const dir = t.testdir({ to: {} });
  const extreme = (name: string, mtimeNs: bigint) => ({ ...file(name, name), mtimeNs }) as TreeEntry;
  await pack(
    entriesOf(
      file(Buffer.from('bad\xff\xfe', 'latin1'), 'bad'),
      extreme('past', -1n),
      extreme('ancient', -(2n ** 55n) * 1_000_000_000n),
      extreme('future', 2n ** 33n * 1_000_000_000n),
      symlink('to', 'bad\ntarget'),
      directory('d', 0),
    ),
    join(dir, 'a.tar.gz'),
  );
  const listing = execFileSync('tar', ['-tzf', join(dir, 'a.tar.gz'), '--quoting-style=literal'], {
    encoding: 'utf8',
  });
  t.same(listing.trim().split('\n'), ['bad%ff%fe', 'past', 'ancient', 'future', 'to', 'd/']);
});

t.test('a file that shrinks while it is packed gives a whole archive', async (t) => {
  const dir = t.testdir({ from: {} });
  writeFileSync(join(dir, 'from/a'), Buffer.alloc(20_000_000, 7));
  async function* shrinking() {
    for await (const entry of readTree(treePrograms(join(dir, 'from')), signal)) {
      truncateSync(join(dir, 'from/a'), 5_000_000);
      yield entry;
    }
  }
  await pack(shrinking(), join(dir, 'a.tar.gz'));
  const tar = gunzipSync(readFileSync(join(dir, 'a.tar.gz')));
  t.equal(tar.length % 512, 0);
  t.equal(execFileSync('tar', ['-xzOf', join(dir, 'a.tar.gz')], { maxBuffer: 2 ** 25 }).length, 20_000_000);
});

t.test('a source that fails, in the middle of a large file too, ends the packing', async (t) => {
  const dir = t.testdir({});
  async function* broken() {
    yield file('a', 'a');
    throw new Error('the source broke');
  }
  await t.rejects(pack(broken(), join(dir, '1')), { message: 'the source broke' });
  async function* brokenBody() {
    yield Buffer.alloc(1000);
    throw new Error('the body broke');
  }
  const big = { ...file('big', ''), sizeBytes: 1_000_000, body: brokenBody() } as TreeEntry;
  await t.rejects(pack(entriesOf(big), join(dir, '2')), { message: 'the body broke' });
});

t.test('who stops reading the archive ends the walk', async (t) => {
  const root = t.testdir({ a: '', b: 'b' });
  // More than all the buffers on the way can hold.
  truncateSync(join(root, 'a'), 4_000_000_000);
  const programs = treePrograms(root);
  const archive = packEntries(readTree(programs, signal));
  // The header of the archive is there before the walk has begun.
  await until(() => programs.running === 1);
  archive.destroy();
  await until(() => programs.running === 0);
});
