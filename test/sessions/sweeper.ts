import t from 'tap';
import { deferred } from '../../src/lib/deferred.js';
import type { Sandbox } from '../../src/sandbox/sandbox.js';
import { LiveSession } from '../../src/sessions/live-session.js';
import { Sweeper } from '../../src/sessions/sweeper.js';
import { Lane } from '../../src/tasks/lane.js';
import { Places } from '../../src/tasks/places.js';
import { openJournal, sessionRow, silent } from '../helpers/store.js';

t.test('one slow end keeps no other from its own, and closing waits for both', async (t) => {
  const { journal } = await openJournal(t);
  const expired = () => {
    const row = sessionRow({ max_lifetime_seconds: 1, created_at: 0 });
    const lane = new Lane({ ...row, places: new Places({ total: 1, perTenant: 1 }) });
    return new LiveSession(row, {} as Sandbox, lane);
  };
  const [slow, quick] = [expired(), expired()];
  const slowEnd = deferred<void>();
  const begun: LiveSession[] = [];
  const sweeper = new Sweeper({
    sessions: {
      allLive: [slow, quick],
      end(live) {
        begun.push(live);
        return live === slow ? slowEnd.promise : Promise.reject(new Error('no space'));
      },
    },
    journal,
    log: silent,
  });
  await sweeper.sweep();
  t.same(begun, [slow, quick]);
  let isClosed = false;
  const closed = sweeper.close().then(() => {
    isClosed = true;
  });
  await new Promise(setImmediate);
  t.notOk(isClosed);
  slowEnd.resolve();
  await closed;
  t.ok(quick.endPostponedUntil > Date.now(), 'an end that failed is tried again later');
});
