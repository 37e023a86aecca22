import { getEventListeners } from 'node:events';
import t from 'tap';
import { deferred } from '../../src/lib/deferred.js';
import { settledWithin } from '../../src/lib/settled-within.js';

t.test('true when it settles in time, false when the time or a signal ends the wait', async (t) => {
  const never = deferred<void>().promise;
  t.equal(await settledWithin(Promise.resolve(), 60_000), true);
  t.equal(await settledWithin(never, 1), false);
  t.equal(await settledWithin(Promise.resolve(), 0), false, 'no time at all');
  const controller = new AbortController();
  const waiting = settledWithin(never, 60_000, new AbortController().signal, controller.signal);
  controller.abort();
  t.equal(await waiting, false);
  t.equal(await settledWithin(never, 60_000, controller.signal), false, 'aborted before');
});

t.test('a signal that outlives many waits keeps nothing of them', async (t) => {
  const { signal } = new AbortController();
  for (let wait = 0; wait < 20; wait += 1) await settledWithin(Promise.resolve(), 60_000, signal);
  t.same(getEventListeners(signal, 'abort'), []);
  const kept = Object.getOwnPropertySymbols(signal).map((name) => Reflect.get(signal, name));
  t.notOk(
    kept.some((each) => each instanceof Set && each.size > 0),
    'no signal was made of it',
  );
});
