import t from 'tap';
import { deferred } from '../../src/lib/deferred.js';

t.test('a deferred is settled from outside, by the first who does', async (t) => {
  const { promise, resolve, reject } = deferred<number>();
  resolve(1);
  resolve(2);
  reject(new Error('too late'));
  t.equal(await promise, 1);
});

t.test('a deferred can be rejected', async (t) => {
  const { promise, reject } = deferred();
  reject(new Error('no'));
  await t.rejects(promise, { message: 'no' });
});
