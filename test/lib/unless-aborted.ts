import { getEventListeners } from 'node:events';
import t from 'tap';
import { deferred } from '../../src/lib/deferred.js';
import { unlessAborted } from '../../src/lib/unless-aborted.js';

t.test('the first of both decides, and nothing stays with the signal', async (t) => {
  const controller = new AbortController();
  const { signal } = controller;
  t.equal(await unlessAborted(Promise.resolve(1), signal), 1);
  await t.rejects(unlessAborted(Promise.reject(new Error('no')), signal), { message: 'no' });
  const late = deferred();
  const waiting = unlessAborted(late.promise, signal);
  controller.abort(new Error('ended'));
  await t.rejects(waiting, { message: 'ended' });
  late.reject(new Error('nobody waits for this'));
  await t.rejects(unlessAborted(new Promise(() => {}), signal), { message: 'ended' });
  t.equal(getEventListeners(signal, 'abort').length, 0);
});
