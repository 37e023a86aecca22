// Looks after sessions by the clock: warns before an end, ends what has expired.
import type { Journal } from '../events/journal.js';
import type { Logger } from '../observability/logger.js';
import type { LiveSession } from './live-session.js';
import type { Sessions } from './service.js';

const SWEEP_EVERY_MS = 1000;
/** An end that failed, e.g. because its checkpoint found no space, is tried again after this long. */
const RETRY_END_MS = 60_000;

export interface SweeperOptions {
  readonly sessions: Pick<Sessions, 'allLive' | 'end'>;
  readonly journal: Journal;
  readonly log: Logger;
  /** Epoch milliseconds. */
  readonly now?: () => number;
  /** Milliseconds of a clock that only goes forward. */
  readonly steadyNow?: () => number;
}

export class Sweeper {
  readonly #options: SweeperOptions;
  readonly #now: () => number;
  readonly #steadyNow: () => number;
  #timer: NodeJS.Timeout | undefined;
  #sweeping: Promise<void> | undefined;
  readonly #ends = new Set<Promise<void>>();

  constructor(options: SweeperOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#steadyNow = options.steadyNow ?? (() => performance.now());
  }

  start(): void {
    this.#timer ??= setInterval(() => void this.sweep(), SWEEP_EVERY_MS).unref();
  }

  /** Resolves when the ends that were begun are over. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#sweeping;
    await Promise.all(this.#ends);
  }

  /** One round; rounds do not overlap. */
  sweep(): Promise<void> {
    this.#sweeping ??= this.#round()
      .catch((error: unknown) => this.#options.log.error({ err: error }, 'sweep of sessions failed'))
      .finally(() => {
        this.#sweeping = undefined;
      });
    return this.#sweeping;
  }

  async #round(): Promise<void> {
    for (const live of this.#options.sessions.allLive) {
      if (live.endPostponedUntil > this.#steadyNow()) continue;
      if (live.isEndStuck) this.#end(live, live.row.state_reason ?? 'deleted', live.row.end_checkpoint);
      else if (!live.isEnding)
        await this.#watchExpiry(live).catch((err: unknown) =>
          // The others are looked at all the same.
          this.#options.log.error({ err, sessionId: live.row.session_id }, 'expiry could not be told'),
        );
    }
  }

  async #watchExpiry(live: LiveSession): Promise<void> {
    const { expiry, row } = live;
    if (!expiry) return;
    if (expiry.at <= this.#now())
      this.#end(live, expiry.because, row.checkpoint_on_expiry ? 'expired' : null);
    else await this.#warn(live);
  }

  /** Not waited for in the round: one slow end must not keep the others from theirs. */
  #end(live: LiveSession, reason: string, checkpointName: string | null): void {
    const end = this.#options.sessions.end(live, { reason, checkpointName }).catch((error: unknown) => {
      live.endPostponedUntil = this.#steadyNow() + RETRY_END_MS;
      this.#options.log.error({ err: error, sessionId: live.row.session_id }, 'session could not be ended');
    });
    this.#ends.add(end);
    void end.then(() => this.#ends.delete(end));
  }

  async #warn(live: LiveSession): Promise<void> {
    const { expiry, row } = live;
    if (!expiry) return;
    const now = this.#now();
    if (!live.warnings.take(expiry, now)) return;
    const inSeconds = Math.max(0, Math.round((expiry.at - now) / 1000));
    await this.#options.journal.append({ id: row.id, sessionId: row.session_id }, [
      {
        type: 'session.expiring',
        data: { expiresAt: new Date(expiry.at).toISOString(), because: expiry.because, inSeconds },
      },
    ]);
  }
}
