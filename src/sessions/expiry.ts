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
const WARNINGS_SECONDS = [60, 10] as const;
/** An end that moves by less is the same end: clocks are compared in fractions of a millisecond. */
const SAME_END_MS = 1_000;

/** Which warnings were sent, each once for one end. Work moves the idle end and so brings warnings of its own; it does not
 *  move the end of the lifetime. */
export class EndWarnings {
  #sentFor: Expiry | undefined;
  #sent = new Set<number>();

  /** Whether a warning is due now; from now on it counts as sent, and so do those that should have come before. */
  take(expiry: Expiry, now: number): boolean {
    const last = this.#sentFor;
    const isSame = last?.because === expiry.because && Math.abs(last.at - expiry.at) < SAME_END_MS;
    if (!isSame) this.#sent = new Set();
    const due = WARNINGS_SECONDS.filter((seconds) => expiry.at - now <= seconds * 1000);
    if (due.every((seconds) => this.#sent.has(seconds))) return false;
    this.#sentFor = expiry;
    for (const seconds of due) this.#sent.add(seconds);
    return true;
  }
}
