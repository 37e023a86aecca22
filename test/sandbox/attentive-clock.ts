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
