import t from 'tap';
import { deferred } from '../../src/lib/deferred.js';
import type { Sandbox } from '../../src/sandbox/sandbox.js';
import { LiveSession } from '../../src/sessions/live-session.js';
import { Sweeper } from '../../src/sessions/sweeper.js';
import { Lane } from '../../src/tasks/lane.js';
import { Places } from '../../src/tasks/places.js';
import { openJournal, sessionRow, silent } from '../helpers/store.js';

const expired = () => {
  const row = sessionRow({ max_lifetime_seconds: 1, created_at: 0 });
  const lane = new Lane({ ...row, places: new Places({ total: 1, perTenant: 1 }) });
  return new LiveSession(row, {} as Sandbox, lane);
};

t.test('one slow end keeps no other from its own, and closing waits for both', async (t) => {
  const { journal } = await openJournal(t);
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
});

t.test('an end that failed is tried again after a minute, also when the clock was put back', async (t) => {
  const { journal } = await openJournal(t);
  const live = expired();
  const clock = { wall: Date.now(), steady: 5000 };
  let tries = 0;
  const sweeper = new Sweeper({
    sessions: {
      allLive: [live],
      async end() {
        tries += 1;
        throw new Error('no space');
      },
    },
    journal,
    log: silent,
    now: () => clock.wall,
    steadyNow: () => clock.steady,
  });
  t.teardown(() => sweeper.close());
  const sweepAfter = async (ms: number) => {
    clock.steady += ms;
    clock.wall += ms;
    await sweeper.sweep();
    await new Promise(setImmediate);
    return tries;
  };
  t.equal(await sweepAfter(0), 1);
  clock.wall -= 3_600_000;
  t.equal(await sweepAfter(59_000), 1);
  t.equal(await sweepAfter(2_000), 2);
});
