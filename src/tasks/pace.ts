// How fast turns come: what runs now, and how long such work took lately. From this one can say when a job that waits
// will start. It is an estimate: work that is unlike what ended before makes it wrong.

/** Weight of the newest duration in the mean: the last dozen are nearly all of it. */
const NEWEST_WEIGHT = 1 / 4;

export class Pace {
  readonly #now: () => number;
  readonly #startedAt = new Map<object, number>();
  #meanMs: number | undefined;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Of the work that ended lately; undefined while none has. */
  get meanMs(): number | undefined {
    return this.#meanMs;
  }

  /** How much of it runs. */
  get count(): number {
    return this.#startedAt.size;
  }

  started(job: object): void {
    this.#startedAt.set(job, this.#now());
  }

  ended(job: object): void {
    const durationMs = this.#now() - this.#startedAt.get(job)!;
    this.#startedAt.delete(job);
    this.#meanMs =
      this.#meanMs === undefined ? durationMs : this.#meanMs + (durationMs - this.#meanMs) * NEWEST_WEIGHT;
  }

  /** Until the first of what runs has ended; undefined while nothing is known. */
  get nextEndMs(): number | undefined {
    return this.count === 0 ? 0 : this.waitMs(1, this.count);
  }

  /** Until the job whose turn it is (1: the next) starts, when `atOnce` run at a time and each takes the mean; undefined
   *  while nothing is known. What has outlived the mean counts as just begun: nobody knows how long it still takes. */
  waitMs(turn: number, atOnce: number, meanMs = this.#meanMs): number | undefined {
    if (turn <= atOnce - this.count) return 0;
    if (meanMs === undefined) return undefined;
    const now = this.#now();
    const remaining = [...this.#startedAt.values()]
      .map((startedAt) => now - startedAt)
      .map((elapsedMs) => (elapsedMs < meanMs ? meanMs - elapsedMs : meanMs));
    while (remaining.length < atOnce) remaining.push(0);
    remaining.sort((a, b) => a - b);
    const rounds = Math.floor((turn - 1) / atOnce);
    return remaining[(turn - 1) % atOnce]! + rounds * meanMs;
  }
}
