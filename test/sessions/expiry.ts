import t from 'tap';
import { EndWarnings, expiryOf } from '../../src/sessions/expiry.js';

const session = {
  created_at: 1000,
  last_active_at: 5000,
  idle_timeout_seconds: 10,
  max_lifetime_seconds: 60,
};

t.test('the earlier end applies', async (t) => {
  t.same(expiryOf(session, false), { at: 15_000, because: 'idle' });
  t.same(expiryOf({ ...session, last_active_at: 58_000 }, false), { at: 61_000, because: 'lifetime' });
});

t.test('work holds the idle clock and not the lifetime', async (t) => {
  t.same(expiryOf(session, true), { at: 61_000, because: 'lifetime' });
  t.equal(expiryOf({ ...session, max_lifetime_seconds: null }, true), null);
});

t.test('a session without clocks never ends by itself', async (t) => {
  t.equal(expiryOf({ ...session, idle_timeout_seconds: null, max_lifetime_seconds: null }, false), null);
});

t.test('a warning is due once, 60 s and 10 s before; a late look gives one only', async (t) => {
  const expiry = { at: 100_000, because: 'idle' } as const;
  const warnings = new EndWarnings();
  const dueAt = [39_999, 40_000, 50_000, 89_999, 90_000, 95_000].filter((now) => warnings.take(expiry, now));
  t.same(dueAt, [40_000, 90_000]);
  const late = new EndWarnings();
  t.ok(late.take(expiry, 95_000));
  t.notOk(late.take(expiry, 96_000));
});

t.test('work brings warnings of a later idle end, and none of the same lifetime again', async (t) => {
  const lifetime = { at: 100_000, because: 'lifetime' } as const;
  const warnings = new EndWarnings();
  t.ok(warnings.take(lifetime, 80_000));
  for (let n = 0; n < 5; n += 1) t.notOk(warnings.take({ ...lifetime, at: 100_000 + n / 10 }, 81_000 + n));
  const idle = { at: 90_000, because: 'idle' } as const;
  t.ok(warnings.take(idle, 81_000), 'another end');
  t.ok(warnings.take({ ...idle, at: 95_000 }, 82_000), 'an end that has moved');
});
