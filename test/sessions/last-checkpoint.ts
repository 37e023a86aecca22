import t from 'tap';
import { DiskAlmostFull, OutOfDisk, ShuttingDown, StoreUnavailable } from '../../src/errors.js';
import { takeLastCheckpoint } from '../../src/sessions/last-checkpoint.js';
import type { LiveSession } from '../../src/sessions/live-session.js';
import { sessionRow, silent } from '../helpers/store.js';

const session = () => ({ row: sessionRow(), failedEnds: 0 }) as unknown as LiveSession;
const failing = (error: Error) => ({
  repository: { hasEndCheckpoint: async () => false },
  takeCheckpoint: () => Promise.reject(error),
  log: silent,
});

for (const reason of ['idle', 'lifetime']) {
  t.test(
    `an end by ${reason} goes on without a checkpoint when the tree makes it fail again and again`,
    async (t) => {
      const live = session();
      const facts = { reason, checkpointName: 'expired', wasBegun: false };
      const end = () => takeLastCheckpoint(live, facts, failing(new Error('too large')));
      await t.rejects(end(), { message: 'too large' });
      await t.rejects(end(), { message: 'too large' });
      t.equal(await end(), `${reason}CheckpointFailed`);
    },
  );
}

t.test('what may pass is waited for, and what somebody asked for is not left out', async (t) => {
  const live = session();
  const expired = { reason: 'lifetime', checkpointName: 'expired', wasBegun: false };
  const passing = [
    new OutOfDisk(new Error('full')),
    new DiskAlmostFull(1, 2),
    new StoreUnavailable(new Error('gone'), 'unknown'),
    new ShuttingDown(),
  ];
  for (const error of passing)
    for (let n = 0; n < 10; n += 1)
      await t.rejects(takeLastCheckpoint(live, expired, failing(error)), { code: error.code });
  const asked = { ...expired, reason: 'deleted', checkpointName: 'deleted' };
  for (let n = 0; n < 10; n += 1)
    await t.rejects(takeLastCheckpoint(live, asked, failing(new Error('too large'))), {
      message: 'too large',
    });
});

t.test('an end that has its checkpoint takes no other', async (t) => {
  const options = {
    ...failing(new Error('taken again')),
    repository: { hasEndCheckpoint: async () => true },
  };
  const facts = { reason: 'idle', checkpointName: 'expired', wasBegun: true };
  t.equal(await takeLastCheckpoint(session(), facts, options), 'idle');
  t.equal(await takeLastCheckpoint(session(), { ...facts, checkpointName: null }, options), 'idle');
});
