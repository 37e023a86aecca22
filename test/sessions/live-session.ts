import t from 'tap';
import type { Sandbox } from '../../src/sandbox/sandbox.js';
import { LiveSession } from '../../src/sessions/live-session.js';
import type { Lane } from '../../src/tasks/lane.js';
import { sessionRow } from '../helpers/store.js';

const HOUR = 3_600_000;

function liveSession(values: Parameters<typeof sessionRow>[0]) {
  const clock = { wall: 1000 * HOUR, steady: 0 };
  const pass = (ms: number) => {
    clock.wall += ms;
    clock.steady += ms;
  };
  const row = sessionRow({ created_at: clock.wall, last_active_at: clock.wall, ...values });
  const idle = { isIdle: true, waiting: 0, running: 0 } as Lane;
  const clocks = { wall: () => clock.wall, steady: () => clock.steady };
  return { clock, pass, live: new LiveSession(row, {} as Sandbox, idle, clocks) };
}

t.test('idle time is time that passes, whatever is done to the clock', async (t) => {
  const { clock, pass, live } = liveSession({ idle_timeout_seconds: 1800 });
  const left = () => live.expiry!.at - clock.wall;
  pass(600_000);
  t.equal(left(), 1_200_000);
  clock.wall += 24 * HOUR;
  t.equal(left(), 1_200_000, 'put forward by a day');
  clock.wall -= 48 * HOUR;
  t.equal(left(), 1_200_000, 'put back by two');
  live.worked(clock.wall);
  t.equal(left(), 1_800_000);
  pass(1_800_000);
  t.equal(left(), 0);
});

t.test('so is the lifetime, as long as the service runs', async (t) => {
  const { clock, pass, live } = liveSession({ max_lifetime_seconds: 7200 });
  pass(HOUR);
  clock.wall += 100 * HOUR;
  t.equal(live.expiry!.at - clock.wall, HOUR);
});

t.test('why a session ends is not overwritten by its last tasks', async (t) => {
  const { live } = liveSession({});
  live.taskStarted(1);
  live.terminating('lifetime', null);
  const { statements } = live.taskEnded(2);
  t.equal(live.row.state_reason, 'lifetime');
  t.match(statements[0]?.parameters, ['terminating', 'lifetime']);
  live.staying('checkpointFailed');
  t.equal(live.row.state_reason, 'checkpointFailed');
});
