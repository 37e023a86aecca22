import t from 'tap';
import { dueWarning, expiryOf } from '../../src/sessions/expiry.js';

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

t.test('a warning is due once, 60 s and 10 s before; a late look gives the nearest only', async (t) => {
  const expiry = { at: 100_000, because: 'idle' } as const;
  t.equal(dueWarning(expiry, 39_999, new Set()), null);
  t.equal(dueWarning(expiry, 40_000, new Set()), 60);
  t.equal(dueWarning(expiry, 50_000, new Set([60])), null);
  t.equal(dueWarning(expiry, 90_000, new Set([60])), 10);
  t.equal(dueWarning(expiry, 95_000, new Set()), 10);
});
