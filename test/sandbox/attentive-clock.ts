import t from 'tap';
import { AttentiveClock } from '../../src/sandbox/attentive-clock.js';

const passed = (clock: AttentiveClock, delayMs: number) =>
  new Promise<void>((resolve) => void clock.after(delayMs, resolve));

t.test('time that was spent paused does not count', async (t) => {
  const clock = new AttentiveClock();
  t.teardown(() => clock.clear());
  const began = performance.now();
  const waiting = passed(clock, 20);
  clock.pause();
  clock.pause();
  await new Promise((resolve) => setTimeout(resolve, 60));
  clock.resume();
  t.notOk(clock.isRunning, 'as often as it was paused it must be resumed');
  clock.resume();
  await waiting;
  t.ok(performance.now() - began >= 75, 'waited for 60 ms and then for its own time');
});

t.test('what was called off does not happen', async (t) => {
  const clock = new AttentiveClock();
  let happened = false;
  const callOff = clock.after(1, () => {
    happened = true;
  });
  callOff();
  await passed(clock, 5);
  t.notOk(happened);
});

t.test('what is set while paused begins when it is resumed', async () => {
  const clock = new AttentiveClock();
  clock.pause();
  const waiting = passed(clock, 1);
  clock.resume();
  await waiting;
});

t.test('a clock that leaps, as when the machine slept, lets no time-out pass', async (t) => {
  let leap = 0;
  const clock = new AttentiveClock(() => performance.now() + leap);
  t.teardown(() => clock.clear());
  let isOver = false;
  clock.after(400, () => {
    isOver = true;
  });
  for (let n = 0; n < 5; n += 1) {
    leap += 3_600_000;
    await new Promise((resolve) => setTimeout(resolve, 10));
    t.notOk(isOver, `after ${n + 1} hours of sleep`);
  }
});

t.test('a clock that goes back, or stands still for a while, does not hang', async () => {
  let back = 0;
  const clock = new AttentiveClock(() => performance.now() - back);
  const waiting = passed(clock, 40);
  back = 1_000;
  await waiting;
});

t.test('time in which the other side could not answer does not count', async (t) => {
  const clock = new AttentiveClock();
  let looks = 0;
  let isOver = false;
  const waiting = new Promise<void>((resolve) => {
    clock.after(
      40,
      () => {
        isOver = true;
        resolve();
      },
      () => {
        looks += 1;
        return looks > 20;
      },
    );
  });
  while (looks < 20) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    t.notOk(isOver && looks <= 20);
  }
  await waiting;
  t.ok(looks >= 28, 'its own eight slices come after those');
});

t.test('who never could answer is waited for ten times as long, and no longer', async (t) => {
  const clock = new AttentiveClock();
  const began = performance.now();
  await new Promise<void>((resolve) => void clock.after(20, resolve, () => false));
  t.ok(performance.now() - began >= 150);
});
