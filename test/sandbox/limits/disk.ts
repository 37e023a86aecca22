import t from 'tap';
import { unwrittenBytes } from '../../../src/sandbox/limits/disk.js';

const MIB = 1024 ** 2;
const disk = (bytes: number | Error) => ({
  unwrittenBytes: async () => {
    if (bytes instanceof Error) throw bytes;
    return bytes;
  },
});

t.test('a disk that lies cannot say more than waits in the page cache of the host', async (t) => {
  const disks = [disk(20 * MIB), disk(10 ** 15)];
  t.equal(await unwrittenBytes(disks, async () => 100 * MIB), 100 * MIB);
});

t.test('one that cannot be asked holds nothing', async (t) => {
  const disks = [disk(20 * MIB), disk(new Error('gone'))];
  t.equal(await unwrittenBytes(disks, async () => 100 * MIB), 20 * MIB);
});

t.test('disks are not asked while little waits', async (t) => {
  t.equal(await unwrittenBytes([disk(10 ** 15)], async () => MIB), MIB);
});

t.test('without disks nothing waits for one', async (t) => {
  t.equal(await unwrittenBytes([], async () => 100 * MIB), 0);
  t.ok((await unwrittenBytes([disk(0)])) < 16 * MIB, 'as the kernel says');
});
