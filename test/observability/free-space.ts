import { statfsSync } from 'node:fs';
import t from 'tap';
import { FreeSpace } from '../../src/observability/free-space.js';
import { silent } from '../helpers/store.js';
import { until } from '../helpers/world.js';

t.test('below the floor work is refused with the numbers, and whoever began meanwhile is told', async (t) => {
  const told: string[] = [];
  const space = new FreeSpace({
    directories: [t.testdir(), '/proc'],
    floorBytes: Number.MAX_SAFE_INTEGER,
    log: silent,
    whileLow: (error) => told.push(error.message),
  });
  t.teardown(() => space.close());
  space.require();
  await space.start();
  t.throws(() => space.require(), { code: 'OUT_OF_DISK', message: /has 0 MiB left, less than the \d+ MiB/ });
  await until(async () => told.length > 1);
});

t.test('what was promised and is not written is not free', async (t) => {
  const space = new FreeSpace({
    directories: [t.testdir()],
    floorBytes: 1,
    unwrittenBytes: async () => Number.MAX_SAFE_INTEGER,
    log: silent,
    whileLow: () => {},
  });
  t.teardown(() => space.close());
  await space.start();
  t.equal(space.freeBytes, 0);
  t.throws(() => space.require(), { code: 'OUT_OF_DISK' });
});

t.test('with room, or without a floor, nobody is refused', async (t) => {
  const directory = t.testdir();
  for (const [path, floorBytes] of [
    [directory, 1],
    ['/proc', 0],
  ] as const) {
    const space = new FreeSpace({
      directories: [path],
      floorBytes,
      log: silent,
      whileLow: () => t.fail('it is not low'),
    });
    await space.start();
    space.require();
    const { bavail, bsize } = statfsSync(path);
    if (path === '/proc') t.equal(space.freeBytes, 0);
    else t.ok(Math.abs(space.freeBytes - bavail * bsize) < 2 ** 32, 'what the kernel says');
    await space.close();
  }
});

t.test('a disk that cannot be asked changes nothing', async (t) => {
  const space = new FreeSpace({
    directories: ['/nowhere'],
    floorBytes: 1,
    log: silent,
    whileLow: () => t.fail('nothing is known'),
  });
  await space.start();
  space.require();
  await space.close();
});
