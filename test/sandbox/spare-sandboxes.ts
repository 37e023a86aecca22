// Sandboxes that stand ready: nobody has used them, everybody gets one of his own, and none is left.
import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import type { BubblewrapSandbox } from '../../src/sandbox/bubblewrap-sandbox.js';
import type { BubblewrapDriver, BubblewrapDriverOptions } from '../../src/sandbox/driver.js';
import type { SpareSandbox } from '../../src/sandbox/sandbox.js';
import { SpareSandboxes } from '../../src/sandbox/spare-sandboxes.js';
import { childrenOf, run, sandboxSpec, startDriver } from '../helpers/sandboxes.js';
import { until } from '../helpers/world.js';

const isRoot = process.getuid?.() === 0;
const log = pino({ level: 'silent' });
const { limits } = sandboxSpec();

async function driverWithSpares(
  t: Test,
  options: Partial<BubblewrapDriverOptions> = {},
): Promise<{ driver: BubblewrapDriver; workspaces: () => string[] }> {
  const dataDir = await mkdtemp(join(tmpdir(), 'codegen-worker-test-'));
  t.teardown(() => rm(dataDir, { recursive: true, force: true }));
  const driver = await startDriver(t, { dataDir, spares: { most: 2, limits }, ...options });
  driver.keepSpares();
  return { driver, workspaces: () => readdirSync(join(dataDir, 'sandboxes/workspaces')) };
}

const { driver } = await driverWithSpares(t);

const taken = (driver: BubblewrapDriver): Promise<SpareSandbox> =>
  until(async () => driver.takeSpare(limits));

t.test('who takes one has what it was made with, his own settings, and nobody else’s traces', async (t) => {
  const pristine = await run(await driver.create(sandboxSpec()), ['find', '.', '/tmp', '/dev/shm']);
  const spares = [await taken(driver), await taken(driver), await taken(driver)];
  t.equal(new Set(spares.map(({ id }) => id)).size, 3);
  for (const [number, spare] of spares.entries()) {
    const sandbox = spare.assign({ ...sandboxSpec(), id: spare.id, env: { MINE: String(number) } });
    t.equal(sandbox.id, spare.id);
    const { stdout } = await run(sandbox, ['find', '.', '/tmp', '/dev/shm']);
    t.same(stdout.split('\n').sort(), pristine.stdout.split('\n').sort());
    t.equal((await run(sandbox, 'import os; print(os.environ["MINE"])')).stdout, `${number}\n`);
    await run(sandbox, 'for d in ".", "/tmp", "/dev/shm": open(d + "/trace", "w").close()');
  }
  if (isRoot) t.equal(new Set(spares.map((each) => (each as BubblewrapSandbox).uid)).size, 3);
});

t.test('one serves the network as whoever takes it was granted, and tells him', async (t) => {
  const spare = await taken(driver);
  const told: unknown[] = [];
  const sandbox = spare.assign({
    ...sandboxSpec(),
    id: spare.id,
    egress: { allow: ['refused.test:443'], mayBePrivate: [] },
    onEgress: (decision) => told.push(decision),
  });
  const code = `
import os, urllib.request
print(os.environ["https_proxy"])
try: urllib.request.urlopen("http://other.test/")
except urllib.error.HTTPError as error: print(error.code)`;
  t.equal((await run(sandbox, code)).stdout, 'http://127.0.0.1:3128\n403\n');
  t.match(told, [{ allowed: false, host: 'other.test', port: 80 }]);
});

t.test('many who ask at once get one each, or none', async (t) => {
  const got: SpareSandbox[] = [];
  await until(async () => {
    got.push(...Array.from({ length: 10 }, () => driver.takeSpare(limits)).filter((each) => each !== null));
    return got.length >= 4;
  });
  t.equal(new Set(got).size, got.length);
});

t.test('none is for other limits, and there are none where none are wanted', async (t) => {
  await taken(driver);
  t.equal(driver.takeSpare({ ...limits, memoryBytes: limits.memoryBytes + 1 }), null);
  const none = await driverWithSpares(t, { spares: { most: 0, limits } });
  t.equal(none.driver.takeSpare(limits), null);
  t.same(none.workspaces(), []);
});

t.test('closing takes them away, those being made included, and leaves what was taken', async (t) => {
  const { driver, workspaces } = await driverWithSpares(t);
  const { id } = await taken(driver);
  await until(async () => workspaces().length > 1);
  await driver.close();
  t.same(workspaces(), [id]);
  t.equal(driver.takeSpare(limits), null);
});

t.test('an old one has no processes, and serves all the same', async (t) => {
  const { driver } = await driverWithSpares(t, { agentIdleMs: 1000 });
  const spare = (await taken(driver)) as BubblewrapSandbox;
  await until(async () => (await childrenOf(spare)).length === 0);
  t.equal((await run(spare.assign({ ...sandboxSpec(), id: spare.id }), 'print(1)')).stdout, '1\n');
});

t.test('the last uid goes to who needs it', { skip: !isRoot && 'needs root' }, async (t) => {
  // One is the probe's.
  const { driver, workspaces } = await driverWithSpares(t, { uids: { first: 200_000, count: 3 } });
  const first = await driver.create(sandboxSpec());
  await until(async () => workspaces().length === 2);
  const second = await driver.create(sandboxSpec());
  t.not(second.uid, first.uid);
  t.equal((await run(second, 'print(1)')).stdout, '1\n');
  await t.rejects(driver.create(sandboxSpec()), { message: /all 3 sandbox uids/ });
});

t.test('their number follows the demand, and goes back when nobody asks', async (t) => {
  const options = { limits, most: 3, quietMs: 60_000, log, make: makeOne, hasRoom: () => true };
  const spares = new SpareSandboxes(options);
  t.teardown(() => spares.close());
  await spares.fill();
  t.equal(spares.count, 1);
  const got = Array.from({ length: 5 }, () => spares.take(limits));
  t.equal(got.filter((each) => each !== null).length, 1);
  await until(async () => spares.count === 3);

  // Made before, so that all are there before the quiet time is over.
  const made: BubblewrapSandbox[] = await Promise.all([makeOne(), makeOne(), makeOne()]);
  await Promise.all(made.map((each) => each.warm()));
  const forgetful = new SpareSandboxes({ ...options, quietMs: 300, make: async () => made.pop()! });
  t.teardown(() => forgetful.close());
  for (let asked = 0; asked < 3; asked += 1) forgetful.take(limits);
  await until(async () => made.length === 0);
  await until(async () => forgetful.count === 1);
});

t.test('without room, and while none can be made, there is none; afterwards there is', async (t) => {
  let hasRoom = false;
  let isBroken = true;
  const spares = new SpareSandboxes({
    ...{ limits, most: 1, quietMs: 60_000, log, hasRoom: () => hasRoom },
    make: async () => {
      const sandbox = await makeOne();
      // It cannot start any more.
      if (isBroken) await sandbox.close();
      return sandbox;
    },
  });
  t.teardown(() => spares.close());
  await spares.fill();
  t.equal(spares.count, 0);
  hasRoom = true;
  await spares.fill();
  t.equal(spares.count, 0);
  isBroken = false;
  t.equal(spares.take(limits), null);
  await until(async () => spares.count === 1);
  const { directory } = (spares.take(limits) as unknown as { workspace: { directory: string } }).workspace;
  t.ok(existsSync(directory));
});

async function makeOne(): Promise<BubblewrapSandbox> {
  return (await driver.create(sandboxSpec())) as BubblewrapSandbox;
}
