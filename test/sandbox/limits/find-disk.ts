import { readdirSync } from 'node:fs';
import { pino } from 'pino';
import t from 'tap';
import { findDiskLimiter } from '../../../src/sandbox/limits/find-disk.js';

const log = pino({ level: 'silent' });
const isRoot = process.getuid?.() === 0;

t.test('an ordinary user’s workspaces are watched', async (t) => {
  const limiter = await findDiskLimiter({
    wanted: 'auto',
    workspaces: t.testdir(),
    isRoot: false,
    inUserNamespace: true,
    log,
  });
  t.equal(limiter.kind, 'watcher');
  await limiter.close();
});

t.test('what was asked for and cannot be had is refused with the reason', async (t) => {
  const options = { workspaces: t.testdir(), inUserNamespace: true, log };
  for (const wanted of ['image', 'quota'] as const) {
    await t.rejects(findDiskLimiter({ ...options, wanted, isRoot: false }), {
      message: `DISK_LIMIT=${wanted} is not possible here: it takes root`,
    });
  }
  await t.rejects(findDiskLimiter({ ...options, wanted: 'quota', isRoot: true, inUserNamespace: false }), {
    message: /without user namespaces/,
  });
});

t.test('the trial leaves nothing behind', { skip: !isRoot && 'needs root' }, async (t) => {
  const workspaces = t.testdir();
  const limiter = await findDiskLimiter({
    wanted: 'auto',
    workspaces,
    isRoot: true,
    inUserNamespace: true,
    log,
  });
  t.same(readdirSync(workspaces), []);
  t.match(limiter.kind, /quota|image|watcher/);
  await limiter.close();
});
