import t from 'tap';
import { isHostRoot, UidPool, uidsOfUsers } from '../../src/sandbox/uids.js';

t.test('each sandbox gets a uid of its own, until none is left', async (t) => {
  const pool = new UidPool({ first: 1000, count: 3 });
  t.equal(pool.isUsedUp, false);
  t.same([pool.take(), pool.take(), pool.take()].sort(), [1000, 1001, 1002]);
  t.equal(pool.isUsedUp, true);
  t.throws(() => pool.take(), { message: /are in use/ });
});

t.test('a uid that was freed is given again, and one that was claimed is not', async (t) => {
  const pool = new UidPool({ first: 1000, count: 2 });
  pool.claim(1000);
  t.equal(pool.take(), 1001);
  t.throws(() => pool.take(), { message: /are in use/ });
  pool.free(1001);
  t.equal(pool.take(), 1001);
});

t.test('uids of the host’s own users are left alone', async (t) => {
  const range = { first: 1000, count: 2 };
  const reserved = uidsOfUsers('root:x:0:0::/root:/bin/sh\nann:x:1001:1001::/:/bin/sh\nodd line\n', range);
  t.same([...reserved], [1001]);
  const pool = new UidPool(range, reserved);
  t.equal(pool.take(), 1000);
  t.throws(() => pool.take(), { message: /are in use/ });
});

t.test('root of a rootless container is not the root of the host', async (t) => {
  const whole = '         0          0 4294967295\n';
  t.ok(isHostRoot(0, whole));
  t.notOk(isHostRoot(1000, whole));
  t.notOk(isHostRoot(0, '         0       1000          1\n'));
});
