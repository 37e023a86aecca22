import t from 'tap';
import { Pace } from '../../src/tasks/pace.js';

/** A pace, and a clock that stands until it is moved. */
function paceAt() {
  const clock = { now: 0 };
  const pace = new Pace(() => clock.now);
  const ran = (ms: number) => {
    const job = {};
    pace.started(job);
    clock.now += ms;
    pace.ended(job);
  };
  return { pace, clock, ran };
}

t.test('while a place is free the wait is nothing, whatever is known', async (t) => {
  const { pace } = paceAt();
  t.equal(pace.waitMs(1, 1), 0);
  t.equal(pace.waitMs(3, 3), 0);
  pace.started({});
  t.equal(pace.waitMs(1, 2), 0);
});

t.test('nothing is said before anything has ended', async (t) => {
  const { pace } = paceAt();
  pace.started({});
  t.equal(pace.waitMs(1, 1), undefined);
  t.equal(pace.meanMs, undefined);
});

t.test('a wait is what is left of the work that runs, and a mean for each turn before', async (t) => {
  const { pace, clock, ran } = paceAt();
  ran(100);
  pace.started({});
  clock.now += 30;
  t.equal(pace.waitMs(1, 1), 70);
  t.equal(pace.waitMs(2, 1), 170);
  t.equal(pace.waitMs(5, 1), 470);
});

t.test('with several at once the turns go to what ends first', async (t) => {
  const { pace, clock, ran } = paceAt();
  ran(100);
  pace.started({});
  clock.now += 60;
  pace.started({});
  t.equal(pace.waitMs(1, 2), 40);
  t.equal(pace.waitMs(2, 2), 100);
  t.equal(pace.waitMs(3, 2), 140);
});

t.test('work that has outlived the mean counts as just begun', async (t) => {
  const { pace, clock, ran } = paceAt();
  ran(100);
  pace.started({});
  clock.now += 5000;
  t.equal(pace.waitMs(1, 1), 100);
});

t.test('the mean follows what ends now', async (t) => {
  const { pace, ran } = paceAt();
  ran(100);
  for (let n = 0; n < 20; n += 1) ran(1000);
  t.ok(pace.meanMs! > 990 && pace.meanMs! < 1000);
});

t.test('until the next end: nothing when nothing runs', async (t) => {
  const { pace, clock, ran } = paceAt();
  t.equal(pace.nextEndMs, 0);
  ran(100);
  pace.started({});
  clock.now += 10;
  pace.started({});
  t.equal(pace.nextEndMs, 90);
});
