import t from 'tap';
import { idsOfOthers, isHostRoot, UidPool } from '../../src/sandbox/uids.js';

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

const NOBODY = { passwd: '', group: '', subuid: '', subgid: '' };

t.test('ids of the host’s own users and groups are left alone', async (t) => {
  const range = { first: 1000, count: 4 };
  const passwd = 'root:x:0:0::/root:/bin/sh\nann:x:1001:1001::/:/bin/sh\nodd line\n';
  const reserved = idsOfOthers({ ...NOBODY, passwd, group: 'root:x:0:\nteam:x:1003:ann\n' }, range);
  t.same([...reserved], [1001, 1003]);
  const pool = new UidPool(range, reserved);
  t.same([pool.take(), pool.take()].sort(), [1000, 1002]);
  t.throws(() => pool.take(), { message: /are in use/ });
});

t.test('ids that users may take for containers are left alone', async (t) => {
  const range = { first: 200_000, count: 65_536 };
  const subuid = 'ann:100000:65536\nben:165536:65536\n# no line\ncleo:x:y\n';
  const reserved = idsOfOthers({ ...NOBODY, subuid, subgid: 'ann:265000:10\n' }, range);
  t.ok(reserved.has(200_000) && reserved.has(231_071) && reserved.has(265_009));
  t.notOk(reserved.has(231_072) || reserved.has(264_999) || reserved.has(265_010));
  const pool = new UidPool(range, reserved);
  for (let n = 0; n < 1000; n += 1) t.notOk(reserved.has(pool.take()));
});

t.test('a range that others have whole is refused, with one that is free', async (t) => {
  const subuid = 'ann:100000:65536\nben:165536:65536\ncleo:231072:65536\n';
  t.throws(() => idsOfOthers({ ...NOBODY, subuid }, { first: 200_000, count: 65_536 }), {
    message: /SANDBOX_UID_FIRST=200000, .* set SANDBOX_UID_FIRST to a free range, e\.g\. 296608/,
  });
  t.equal(idsOfOthers({ ...NOBODY, subuid }, { first: 296_608, count: 65_536 }).size, 0);
});

t.test('root of a rootless container is not the root of the host', async (t) => {
  const whole = '         0          0 4294967295\n';
  t.ok(isHostRoot(0, whole));
  t.notOk(isHostRoot(1000, whole));
  t.notOk(isHostRoot(0, '         0       1000          1\n'));
});
