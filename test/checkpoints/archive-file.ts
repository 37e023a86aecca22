import { execFileSync, spawnSync } from 'node:child_process';
import { createHash, randomFillSync } from 'node:crypto';
import { createReadStream, createWriteStream, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import t from 'tap';
import { writeArchive } from '../../src/checkpoints/archive-file.js';
import { unpackTree } from '../../src/checkpoints/archive-read.js';
import { Survey } from '../../src/checkpoints/survey.js';
import { TarSurvey } from '../../src/checkpoints/tar-survey.js';
import { packTree } from '../../src/sandbox/tree-pack.js';
import { writeTree } from '../../src/sandbox/tree-writer.js';
import { describeTree, treePrograms } from '../helpers/tree.js';

const { signal } = new AbortController();

/** Packs a directory as a checkpoint does. */
async function pack(from: string, path: string) {
  const survey = new Survey();
  async function* surveyed() {
    const tar = new TarSurvey(survey);
    for await (const chunk of packTree(treePrograms(from), signal)) yield tar.push(chunk);
    tar.end();
  }
  return { survey, archive: await writeArchive(surveyed(), createWriteStream(path), signal) };
}

t.test('the archive is an ordinary .tar.gz: GNU tar restores it, times and odd names included', async (t) => {
  const dir = t.testdir({ from: { a: { 'x.txt': 'x'.repeat(3_000_000) }, 'b.txt': 'b' }, to: {} });
  const [from, to, path] = [join(dir, 'from'), join(dir, 'to'), join(dir, 'a.tar.gz')];
  execFileSync('/usr/bin/python3', [
    '-c',
    `import os, sys
os.chdir(sys.argv[1])
os.symlink("/usr/bin/python3", "python"); os.symlink("../..", "a/up"); os.symlink("/" + "ü" * 200, "far")
for name in ("new\\nline", "C:drive", "back\\\\slash", "ends\\\\", " space", "ü" * 100, "n" * 255, "..data", "100" + "d" * 97): open(name, "w").write(name)
os.makedirs("l" * 200 + "/" + "m" * 200)
os.chmod("b.txt", 0o400); os.chmod("a", 0o750)
os.utime("b.txt", ns=(0, 1234567890123456789)); os.utime("a", ns=(0, 4000000000 * 10**9))
os.utime("python", ns=(0, 17), follow_symlinks=False)`,
    from,
  ]);
  const { archive, survey } = await pack(from, path);
  const bytes = readFileSync(path);
  t.equal(bytes.length, archive.sizeBytes);
  t.equal(createHash('sha256').update(bytes).digest('hex'), archive.sha256);
  t.ok(bytes.subarray(-8).equals(archive.trailer));
  const quiet = ['--no-same-owner', '--warning=no-timestamp'];
  const tar = spawnSync('tar', ['-xpzf', path, ...quiet, '-C', to], { encoding: 'utf8' });
  t.equal(tar.stderr, '', 'without a warning');
  t.same(describeTree(to), describeTree(from));
  t.equal(survey.entryCount, describeTree(from).length);
});

t.test(
  'names that are no UTF-8, and times out of range, come back and do not break it for others',
  async (t) => {
    const dir = t.testdir({ from: {}, to: {} });
    execFileSync('/usr/bin/python3', [
      '-c',
      `import os, sys
os.chdir(sys.argv[1])
def file(name, ns):
    open(name, "w").close(); os.utime(name, ns=(0, ns))
file(b"bad\\xff\\xfe", 1); file("past", -1); file("future", 2**33 * 10**9); file("old", -10**18)
os.symlink(b"bad\\xff\\ntarget", "to"); os.mkdir("d"); os.chmod("d", 0)`,
      join(dir, 'from'),
    ]);
    const { archive, survey } = await pack(join(dir, 'from'), join(dir, 'a.tar.gz'));
    const listing = execFileSync('tar', ['-tzf', join(dir, 'a.tar.gz'), '--quoting-style=literal'], {
      encoding: 'utf8',
    });
    t.same(listing.trim().split('\n'), ['bad%ff%fe', 'd/', 'future', 'old', 'past', 'to']);
    const expected = { ...archive, maxBytes: survey.uncompressedBytes, maxEntries: survey.entryCount };
    const file = createReadStream(join(dir, 'a.tar.gz'));
    await writeTree(treePrograms(join(dir, 'to')), unpackTree(file, expected, signal), signal);
    t.same(describeTree(join(dir, 'to')), describeTree(join(dir, 'from')));
  },
);

t.test('the same tree gives the same bytes', async (t) => {
  const dir = t.testdir({ from: { a: '1'.repeat(3_000_000), b: { c: '2' } } });
  const one = await pack(join(dir, 'from'), join(dir, '1.tar.gz'));
  const two = await pack(join(dir, 'from'), join(dir, '2.tar.gz'));
  t.equal(one.archive.sha256, two.archive.sha256);
});

t.test('what does not shrink is stored, and a large file arrives whole', async (t) => {
  const dir = t.testdir({ to: {}, from: {} });
  const random = randomFillSync(Buffer.alloc(10 * 1024 * 1024));
  writeFileSync(join(dir, 'from/random'), random);
  const { archive } = await pack(join(dir, 'from'), join(dir, 'a.tar.gz'));
  t.ok(archive.sizeBytes < random.length * 1.001);
  execFileSync('tar', ['-xzf', join(dir, 'a.tar.gz'), '-C', join(dir, 'to')]);
  t.ok(readFileSync(join(dir, 'to/random')).equals(random));
});

t.test('a source that fails, a disk that fails, or an abort, ends the writing', async (t) => {
  const dir = t.testdir({});
  const random = randomFillSync(Buffer.alloc(3_000_000));
  async function* broken() {
    yield random;
    throw new Error('the source broke');
  }
  const to = (name: string) => createWriteStream(join(dir, name));
  await t.rejects(writeArchive(broken(), to('1'), signal), { message: 'the source broke' });
  async function* whole() {
    yield random;
  }
  const full = new Writable({
    write: (_chunk, _encoding, done) => done(Object.assign(new Error('no space'), { code: 'ENOSPC' })),
  });
  await t.rejects(writeArchive(whole(), full, signal), { code: 'ENOSPC' });
  const abort = new AbortController();
  async function* aborting() {
    yield random;
    abort.abort(new Error('enough'));
    yield random;
  }
  await t.rejects(writeArchive(aborting(), to('2'), abort.signal), { message: 'enough' });
});
