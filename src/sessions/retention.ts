// Forgets what was kept long enough or takes too much room: whole sessions that are over, and the oldest events of those
// that live on. It works in small steps and rests between them, so that whoever stores meanwhile hardly waits.
import { setTimeout as sleep } from 'node:timers/promises';
import { StoreFull } from '../errors.js';
import type { Trimmer, TrimOptions } from '../events/trim.js';
import type { Logger } from '../observability/logger.js';
import type { StoreSize } from '../store/store.js';
import type { KeptSession, SessionRepository } from './repository.js';

const ROUND_EVERY_MS = 1000;
/** The age of events, and checkpoints, are looked at less often than what takes room. */
const AGE_EVERY_MS = 60_000;
const FORGET_AT_ONCE = 20;
/** Where something is over its limit, so much of the limit is left when it stops: not every commit is followed by a
 *  deletion. */
const ENOUGH = 0.9;
/** A clock that was put forward by more than this is not believed at once: age alone would forget everything. */
const JUMP_MS = 60_000;
const DOUBT_MS = 3_600_000;

export interface RetentionLimits {
  /** How long a session that is over stays. */
  readonly endedMs: number;
  /** How long an event of a session that lives on stays. */
  readonly eventMs: number;
  /** How much is kept of a session that lives on. */
  readonly sessionBytes: number;
  /** How much the store may hold. */
  readonly storeBytes: number;
}

export interface RetentionOptions {
  readonly repository: SessionRepository;
  readonly trimmer: Trimmer;
  readonly storeSize: () => Promise<StoreSize>;
  readonly limits: RetentionLimits;
  readonly log: Logger;
  /** Cuts what is kept for repeated requests; false when there was nothing to cut. */
  readonly cutReplies?: () => Promise<boolean>;
  /** Removes checkpoints that are due, those due by age only when the clock can be believed. Asked once a minute. */
  readonly removeCheckpoints?: (isClockSure: boolean, signal: AbortSignal) => Promise<void>;
  /** Told how much is still kept of a session that lives on. */
  readonly onTrimmed?: (session: string, sessionBytes: number) => void;
  /** Epoch milliseconds. */
  readonly now?: () => number;
  /** Milliseconds of a clock that only goes forward. */
  readonly steadyNow?: () => number;
}

export class Retention {
  readonly #options: RetentionOptions;
  readonly #now: () => number;
  readonly #steadyNow: () => number;
  readonly #stopping = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> | undefined;
  #ageLookedAt = Number.NEGATIVE_INFINITY;
  #checkpointsLookedAt = Number.NEGATIVE_INFINITY;
  #doubtUntil = Number.NEGATIVE_INFINITY;
  /** Wall clock minus steady clock, as it was last seen. */
  #offset: number;
  #isFull = false;

  constructor(options: RetentionOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#steadyNow = options.steadyNow ?? (() => performance.now());
    this.#offset = this.#now() - this.#steadyNow();
  }

  start(): void {
    this.#timer ??= setInterval(() => void this.round(), ROUND_EVERY_MS).unref();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#stopping.abort();
    await this.#round;
  }

  /** Throws StoreFull while the store holds more than it may, and nothing could be forgotten. */
  requireRoom(): void {
    if (this.#isFull) throw new StoreFull(this.#options.limits.storeBytes);
  }

  /** Forgets what is due; rounds do not overlap. */
  round(): Promise<void> {
    this.#round ??= this.#forgetWhatIsDue()
      .catch((error: unknown) => {
        if (!this.#stopping.signal.aborted) this.#options.log.error({ err: error }, 'retention failed');
      })
      .finally(() => {
        this.#round = undefined;
      });
    return this.#round;
  }

  async #forgetWhatIsDue(): Promise<void> {
    this.#watchClock();
    if (this.#isClockSure) await this.#forgetByAge();
    for (const session of await this.#options.repository.kept()) {
      await this.#shrink(session, this.#options.limits.sessionBytes);
    }
    await this.#keepStoreSmall();
    if (this.#steadyNow() - this.#checkpointsLookedAt < AGE_EVERY_MS) return;
    this.#checkpointsLookedAt = this.#steadyNow();
    await this.#options.removeCheckpoints?.(this.#isClockSure, this.#stopping.signal);
  }

  get #isClockSure(): boolean {
    return this.#steadyNow() >= this.#doubtUntil;
  }

  #watchClock(): void {
    const offset = this.#now() - this.#steadyNow();
    const jumpMs = offset - this.#offset;
    this.#offset = offset;
    if (Math.abs(jumpMs) < JUMP_MS) return;
    this.#options.log.warn({ jumpMs: Math.round(jumpMs) }, 'the clock was changed');
    if (jumpMs > 0) this.#doubtUntil = this.#steadyNow() + DOUBT_MS;
  }

  async #forgetByAge(): Promise<void> {
    const { repository, limits } = this.#options;
    for (const ended of await repository.ended(FORGET_AT_ONCE, this.#now() - limits.endedMs)) {
      await this.#forget(ended);
    }
    if (this.#steadyNow() - this.#ageLookedAt < AGE_EVERY_MS) return;
    this.#ageLookedAt = this.#steadyNow();
    for (const session of await repository.kept()) {
      const upTo = await this.#options.trimmer.removableUpTo(session);
      while (await this.#trim(session.id, { upTo, before: this.#now() - limits.eventMs }));
    }
  }

  /** Removes the oldest events of a session that takes more than this. True when it could remove some. */
  async #shrink(session: KeptSession, maxBytes: number): Promise<boolean> {
    if (session.stored_bytes <= maxBytes) return false;
    const upTo = await this.#options.trimmer.removableUpTo(session);
    const enough = maxBytes * ENOUGH;
    let kept: number | undefined = session.stored_bytes;
    let removed = false;
    while (kept !== undefined && kept > enough) {
      kept = await this.#trim(session.id, { upTo, bytes: kept - enough });
      removed ||= kept !== undefined;
    }
    return removed;
  }

  /** Replies kept for repeats are cut first, for nobody misses anything. Sessions that are over go next, the oldest of them before the others; then the events of the largest. */
  async #keepStoreSmall(): Promise<void> {
    const { storeBytes } = this.#options.limits;
    const isOver = async (part: number) => (await this.#options.storeSize()).usedBytes > storeBytes * part;
    if (!(await isOver(1))) return this.#tellFull(false);
    while ((await isOver(ENOUGH)) && !this.#stopping.signal.aborted) {
      if (await this.#thenRest(async () => this.#options.cutReplies?.())) continue;
      if (!(await this.#forgetOldest()) && !(await this.#shrinkLargest())) break;
    }
    this.#tellFull(await isOver(1));
  }

  async #forgetOldest(): Promise<boolean> {
    const [oldest] = await this.#options.repository.ended(1);
    if (!oldest) return false;
    this.#options.log.warn({ session: oldest.id }, 'session forgotten early, for room in the store');
    await this.#forget(oldest);
    return true;
  }

  async #shrinkLargest(): Promise<boolean> {
    const sessions = await this.#options.repository.kept();
    for (const session of sessions.sort((a, b) => b.stored_bytes - a.stored_bytes)) {
      if (await this.#shrink(session, session.stored_bytes * ENOUGH)) return true;
    }
    return false;
  }

  #tellFull(isFull: boolean): void {
    if (isFull && !this.#isFull) {
      this.#options.log.error({ storeBytes: this.#options.limits.storeBytes }, 'the store is full');
    }
    this.#isFull = isFull;
  }

  /** Removes all that is kept of a session but its checkpoints, the record last. */
  async #forget({ id, last_seq: upTo }: { id: string; last_seq: number }): Promise<void> {
    while ((await this.#trim(id, { upTo })) !== undefined);
    while (await this.#thenRest(() => this.#options.repository.forgetTasks(id)));
    await this.#options.repository.forget(id);
  }

  /** Removes a slice and tells what is left of the session; undefined when there was nothing to remove. */
  async #trim(session: string, options: TrimOptions): Promise<number | undefined> {
    return this.#thenRest(async () => {
      const trimmed = await this.#options.trimmer.trim(session, options);
      if (trimmed) this.#options.onTrimmed?.(session, trimmed.sessionBytes);
      return trimmed?.sessionBytes;
    });
  }

  /** Rests as long as the work took: others get at least as much of the store as we. Throws when the service stops. */
  async #thenRest<T>(work: () => Promise<T>): Promise<T> {
    const startedAt = performance.now();
    const result = await work();
    await sleep(performance.now() - startedAt, undefined, { signal: this.#stopping.signal });
    return result;
  }
}
