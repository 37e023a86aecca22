import t from 'tap';
import { openDatabase } from '../../src/store/database.js';
import { storeProbe } from '../../src/store/probe.js';
import { openStore } from '../helpers/store.js';

t.test('what it writes reaches the disk', async (t) => {
  const directory = t.testdir();
  const store = await openStore(t, directory);
  const db = openDatabase(`${directory}/store.db`);
  t.teardown(() => db.close());
  const version = () => db.prepare('pragma data_version').all([]).rows[0]![0];
  const before = version();
  await storeProbe(store)();
  t.not(version(), before, 'another connection sees that something was committed');
});

t.test('asked by many it writes once, and a failure is theirs', async (t) => {
  let writes = 0;
  const full = new Error('disk full');
  const probe = storeProbe({
    write: async () => {
      writes += 1;
      throw full;
    },
  });
  const results = await Promise.allSettled([probe(), probe(), probe()]);
  t.same(
    results.map((result) => result.status === 'rejected' && result.reason),
    [full, full, full],
  );
  t.equal(writes, 1);
});
