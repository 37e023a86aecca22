import { execFileSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { DiskPlace } from '../../../src/sandbox/limits/disk.js';
import { attachImage, createImage, type DiskImage } from '../../../src/sandbox/limits/disk-image.js';
import { HostDisk } from '../../../src/sandbox/limits/host-disk.js';
import { until } from '../../helpers/event-client.js';
import { processesBelow } from '../../helpers/processes.js';

const MIB = 1024 * 1024;
const SIZE = { diskBytes: 16 * MIB, maxInodes: 500 };

const trial = t.testdir();
const host = new HostDisk(join(trial, 'lock'));
const isPossible =
  process.getuid?.() === 0 &&
  (await createImage(host, placeIn(trial), SIZE).then(
    (disk) => disk.discard(),
    () => false,
  ));
t.teardown(() => host.close());
const skip = isPossible ? false : 'needs root and loop devices';

/** A directory that goes after what is mounted below it. */
function directoryFor(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'codegen-worker-test-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  return directory;
}

function placeIn(directory: string): DiskPlace {
  const path = join(directory, 'workspace');
  mkdirSync(path);
  return { directory, path, uid: null };
}

async function image(t: Test, directory = directoryFor(t)) {
  const place = placeIn(directory);
  const disk = (await createImage(host, place, SIZE)) as DiskImage;
  t.teardown(() => disk.discard());
  return { place, disk };
}

t.test('an image has exactly the bytes it was made with', { skip }, async (t) => {
  const { place } = await image(t);
  const { bsize, bavail, blocks, bfree } = statfsSync(place.path);
  t.equal(bavail * bsize, SIZE.diskBytes);
  const big = join(place.path, 'big');
  t.throws(() => writeFileSync(big, Buffer.alloc(17 * MIB)), { code: 'ENOSPC' });
  rmSync(big);
  writeFileSync(big, Buffer.alloc(15 * MIB));
  t.ok((blocks - bfree) * bsize < MIB / 4, 'an empty one uses next to nothing');
});

t.test('an image has the inodes it was made with, and a few at most', { skip }, async (t) => {
  const { place } = await image(t);
  let made = 0;
  t.throws(
    () => {
      for (; made <= 600; made += 1) writeFileSync(join(place.path, String(made)), '');
    },
    { code: 'ENOSPC' },
  );
  t.ok(made >= 500 && made <= 520, `${made} files`);
});

t.test(
  'after a crash of the host the image is checked, and nothing of root’s is in it',
  { skip },
  async (t) => {
    const { place, disk } = await image(t);
    writeFileSync(join(place.path, 'kept'), 'still here');
    await disk.detach();
    const file = join(place.directory, 'disk.img');
    execFileSync('debugfs', ['-w', '-R', 'set_super_value state 0', file], {
      env: { PATH: '/usr/sbin:/sbin' },
      stdio: 'pipe',
    });
    await attachImage(host, place);
    t.same(readdirSync(place.path), ['kept']);
    await disk.detach();
    await attachImage(host, place);
    t.same(readdirSync(place.path), ['kept']);
  },
);

t.test('what is in an image is there when it is attached again', { skip }, async (t) => {
  const { place, disk } = await image(t);
  writeFileSync(join(place.path, 'kept'), 'still here');
  await disk.detach();
  t.notOk(existsSync(join(place.path, 'kept')));
  await disk.detach();
  const again = await attachImage(host, place);
  t.equal(readFileSync(join(place.path, 'kept'), 'utf8'), 'still here');
  t.equal(again?.kind, 'image');
});

t.test('a SIGTERM that is sent to all processes of the service leaves it at work', { skip }, async (t) => {
  const { place } = await image(t);
  const helpers = () =>
    processesBelow(process.pid)
      .filter(({ name }) => name === 'host-disk')
      .map(({ pid }) => pid);
  const before = helpers();
  for (const pid of before) process.kill(pid, 'SIGTERM');
  await attachImage(host, place);
  t.ok(before.length > 0);
  t.same(helpers(), before);
});

t.test('one that is still mounted is taken as it is', { skip }, async (t) => {
  const { place } = await image(t);
  writeFileSync(join(place.path, 'kept'), 'x');
  const next = new HostDisk(join(place.directory, 'lock'));
  t.teardown(() => next.close());
  await attachImage(next, place);
  t.equal(readFileSync(join(place.path, 'kept'), 'utf8'), 'x');
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  t.equal(mounts.filter((line) => line.includes(` ${place.path} `)).length, 1);
});

t.test(
  'when the service is gone its images are unmounted, and only then another may come',
  { skip },
  async (t) => {
    const directory = directoryFor(t);
    const place = placeIn(directory);
    const first = new HostDisk(join(directory, 'lock'));
    await createImage(first, place, SIZE);
    writeFileSync(join(place.path, 'kept'), 'x');
    const reader = openSync(join(place.path, 'kept'), 'r');
    const gone = first.close();
    const next = new HostDisk(join(directory, 'lock'));
    t.teardown(() => next.close());
    const attached = attachImage(next, place);
    closeSync(reader);
    await gone;
    const disk = await attached;
    t.teardown(() => disk?.discard());
    t.equal(readFileSync(join(place.path, 'kept'), 'utf8'), 'x');
  },
);

t.test('an image that is broken is not mounted', { skip }, async (t) => {
  const { place, disk } = await image(t);
  await disk.detach();
  writeFileSync(join(place.directory, 'disk.img'), Buffer.alloc(MIB, 'no file system'));
  await t.rejects(attachImage(host, place), { message: /e2fsck/ });
});

t.test('a workspace without an image is none of its business', async (t) => {
  t.equal(await attachImage(host, placeIn(t.testdir())), null);
});

t.test('discarding never takes another file system down', { skip }, async (t) => {
  const directory = directoryFor(t);
  for (const name of ['one', 'other']) mkdirSync(join(directory, name));
  const one = await image(t, join(directory, 'one'));
  const other = await image(t, join(directory, 'other'));
  await t.rejects(
    host.ask('discard', { image: join(one.place.directory, 'disk.img'), at: other.place.path }),
    { message: /something else is mounted/ },
  );
  writeFileSync(join(other.place.path, 'fine'), 'x');
});

t.test('what was discarded is gone, mount and file', { skip }, async (t) => {
  const { place, disk } = await image(t);
  writeFileSync(join(place.path, 'data'), Buffer.alloc(8 * MIB));
  t.equal(await disk.discard(), true);
  t.notOk(existsSync(join(place.path, 'data')));
  t.notOk(existsSync(join(place.directory, 'disk.img')));
  await disk.discard();
});

t.test('it may be taken away by several at once', { skip }, async (t) => {
  for (let round = 0; round < 20; round += 1) {
    const { place, disk } = await image(t);
    await Promise.all([disk.detach(), disk.detach(), disk.detach()]);
    t.strictSame(readdirSync(place.path), []);
    await Promise.all([disk.detach(), disk.discard()]);
    t.strictSame(readdirSync(place.directory), ['workspace']);
  }
});

t.test('what is in it and waits to be written is said, until it is on the disk', { skip }, async (t) => {
  const { place, disk } = await image(t);
  // Somebody else may write everything to the disk at any moment.
  await until(async () => {
    writeFileSync(join(place.path, 'big'), Buffer.alloc(10 * MIB, 1));
    return (await disk.unwrittenBytes()) > 8 * MIB;
  });
  execFileSync('sync', ['--file-system', place.path]);
  t.ok((await disk.unwrittenBytes()) < MIB);
});

t.test('an image that is no longer mounted holds nothing, whoever took it away', { skip }, async (t) => {
  const { place, disk } = await image(t);
  // Without the image the kernel answers for the disk beneath, which is far larger.
  t.ok(statfsSync(place.directory).blocks * statfsSync(place.directory).bsize > 64 * MIB);
  execFileSync('umount', [place.path]);
  t.equal(await disk.unwrittenBytes(), 0);
  await disk.discard();
  t.equal(await disk.unwrittenBytes().catch(() => 0), 0);
});

t.test('an image that is asked while it goes never says more than it can hold', { skip }, async (t) => {
  const { size } = statSync((await image(t)).disk.names.image);
  for (let round = 0; round < 10; round += 1) {
    const { place, disk } = await image(t);
    writeFileSync(join(place.path, 'big'), Buffer.alloc(4 * MIB, 1));
    const gone = disk.discard();
    const asked = Array.from({ length: 50 }, () => disk.unwrittenBytes().catch(() => 0));
    t.ok(Math.max(...(await Promise.all(asked))) <= size);
    await gone;
  }
});
