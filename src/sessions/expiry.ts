// When a session ends by itself, and why. Work holds the idle clock; nothing holds the lifetime.

export interface Expiry {
  /** Epoch milliseconds. */
  readonly at: number;
  readonly because: 'idle' | 'lifetime';
}

interface Clocks {
  readonly created_at: number;
  readonly last_active_at: number;
  readonly idle_timeout_seconds: number | null;
  readonly max_lifetime_seconds: number | null;
}

/** The earlier of the two ends that apply; null when it never ends by itself, or not while it works. */
export function expiryOf(session: Clocks, busy: boolean): Expiry | null {
  const ends: Expiry[] = [];
  if (session.idle_timeout_seconds !== null && !busy) {
    ends.push({ at: session.last_active_at + session.idle_timeout_seconds * 1000, because: 'idle' });
  }
  if (session.max_lifetime_seconds !== null) {
    ends.push({ at: session.created_at + session.max_lifetime_seconds * 1000, because: 'lifetime' });
  }
  return ends.sort((a, b) => a.at - b.at)[0] ?? null;
}

/** Seconds before the end at which `session.expiring` is sent. */
export const WARNINGS_SECONDS = [60, 10] as const;

/** The warning that is due now and was not sent for this end yet, the nearest one when several are. */
export function dueWarning(expiry: Expiry, now: number, sent: ReadonlySet<number>): number | null {
  const due = WARNINGS_SECONDS.filter((seconds) => expiry.at - now <= seconds * 1000 && !sent.has(seconds));
  return due.at(-1) ?? null;
}
