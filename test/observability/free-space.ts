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

/** A FreeSpace whose readings are given, the last of them again and again. */
function withReadings(readings: (number | Error)[]) {
  const reported: string[] = [];
  let count = 0;
  const space = new FreeSpace({
    directories: ['/one'],
    floorBytes: 1000,
    availableBytes: async () => {
      count += 1;
      const next = readings.length > 1 ? readings.shift()! : readings[0]!;
      if (next instanceof Error) throw next;
      return next;
    },
    log: silent,
    whileLow: (error) => reported.push(error.message),
  });
  return { space, reported, count: () => count };
}

t.test('a single reading that is too low stops nobody', async (t) => {
  const { space, reported, count } = withReadings([5000, 0, 5000, 0, 5000, 999, 5000, 5000]);
  t.teardown(() => space.close());
  await space.start();
  await until(async () => count() >= 9);
  t.same(reported, []);
  space.require();
  t.equal(space.freeBytes, 5000);
});

t.test('two in a row do, and one with room lets everybody go on', async (t) => {
  const { space, reported } = withReadings([5000, 0, 0, 5000]);
  t.teardown(() => space.close());
  await space.start();
  await until(async () => reported.length > 0);
  t.equal(reported.length, 1);
  await until(async () => space.freeBytes === 5000);
  space.require();
});

t.test('a reading that fails after a low one leaves things as they were', async (t) => {
  const { space, reported, count } = withReadings([5000, 0, new Error('EIO'), 0, new Error('EIO'), 5000]);
  t.teardown(() => space.close());
  await space.start();
  await until(async () => count() >= 7);
  t.same(reported, []);
  space.require();
});
