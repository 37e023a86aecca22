import t from 'tap';
import { KeptPromise } from '../../src/lib/kept-promise.js';

t.test('it is made once for all who ask, and anew after it failed', async (t) => {
  let made = 0;
  const kept = new KeptPromise(async () => {
    made += 1;
    if (made === 1) throw new Error('no descriptor left');
    return made;
  });
  t.equal(kept.known, undefined);
  const together = [kept.get(), kept.get()];
  for (const each of together) await t.rejects(each, { message: 'no descriptor left' });
  t.equal(made, 1);
  t.same(await Promise.all([kept.get(), kept.get()]), [2, 2]);
  t.equal(await kept.known, 2);
  kept.forget();
  t.equal(kept.known, undefined);
  t.equal(await kept.get(), 3);
});
