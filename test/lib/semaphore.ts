import t from 'tap';
import { deferred } from '../../src/lib/deferred.js';
import { Semaphore } from '../../src/lib/semaphore.js';

t.test('as many run at once as there are slots, the others in their order', async (t) => {
  const semaphore = new Semaphore(2);
  const gates = Array.from({ length: 5 }, () => deferred());
  const started: number[] = [];
  const all = gates.map((gate, n) =>
    semaphore.run(async () => {
      started.push(n);
      await gate.promise;
      return n;
    }),
  );
  await new Promise(setImmediate);
  t.same(started, [0, 1]);
  gates[1]!.resolve();
  t.equal(await all[1], 1);
  await new Promise(setImmediate);
  t.same(started, [0, 1, 2]);
  for (const gate of gates) gate.resolve();
  t.same(await Promise.all(all), [0, 1, 2, 3, 4]);
});

t.test('work that fails gives its slot back', async (t) => {
  const semaphore = new Semaphore(1);
  const failing = semaphore.run(async () => {
    throw new Error('no');
  });
  await t.rejects(failing, /no/);
  t.equal(await semaphore.run(async () => 'yes'), 'yes');
});
