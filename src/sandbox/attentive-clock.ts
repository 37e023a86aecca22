// Time during which somebody could have answered. While we do not listen to an agent, or have stopped it, its silence
// means nothing, and no time-out may pass. Nor does time count in which we ourselves were held up (the machine slept, our
// event loop was busy), or in which the other side only waited for a processor.

/** Whether the other side could have answered since it was last asked. */
export type CouldAnswer = () => boolean;

interface Timer {
  remainingMs: number;
  /** Real time it may still take, whatever is said of the other side: a reading that lies must not hold it up for ever. */
  patienceMs: number;
  since: number;
  handle: NodeJS.Timeout | undefined;
  readonly sliceMs: number;
  readonly couldAnswer: CouldAnswer;
  readonly run: () => void;
}

/** A time-out is counted in so many slices, and each counts by itself. */
const SLICES = 8;
const MOST_SLICE_MS = 1_000;
/** Who could not answer is given so many times as long at most. */
const PATIENCE = 10;

export class AttentiveClock {
  readonly #timers = new Set<Timer>();
  readonly #now: () => number;
  #pauses = 0;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Calls `run` after so much time in which the clock ran and the other side could have answered. Returns how to call it
   *  off. */
  after(delayMs: number, run: () => void, couldAnswer: CouldAnswer = () => true): () => void {
    const sliceMs = Math.min(MOST_SLICE_MS, Math.max(1, delayMs / SLICES));
    const patienceMs = PATIENCE * delayMs;
    const timer: Timer = {
      ...{ remainingMs: delayMs, patienceMs, since: 0, handle: undefined },
      ...{ sliceMs, couldAnswer, run },
    };
    this.#timers.add(timer);
    if (this.#pauses === 0) this.#start(timer);
    return () => this.#stop(timer);
  }

  /** As often as it is paused it must be resumed. */
  pause(): void {
    this.#pauses += 1;
    if (this.#pauses > 1) return;
    for (const timer of this.#timers) {
      clearTimeout(timer.handle);
      timer.remainingMs -= this.#sinceOf(timer);
    }
  }

  resume(): void {
    this.#pauses -= 1;
    if (this.#pauses === 0) for (const timer of this.#timers) this.#start(timer);
  }

  get isRunning(): boolean {
    return this.#pauses === 0;
  }

  clear(): void {
    for (const timer of [...this.#timers]) this.#stop(timer);
  }

  #start(timer: Timer): void {
    timer.since = this.#now();
    const waitMs = Math.max(0, Math.min(timer.sliceMs, timer.remainingMs));
    timer.handle = setTimeout(() => this.#count(timer), waitMs);
  }

  #count(timer: Timer): void {
    const passedMs = this.#sinceOf(timer);
    timer.patienceMs -= passedMs;
    if (timer.couldAnswer()) timer.remainingMs -= passedMs;
    // A timer may come a fraction of a millisecond early.
    if (timer.remainingMs > 1 && timer.patienceMs > 0) {
      this.#start(timer);
      return;
    }
    this.#stop(timer);
    timer.run();
  }

  /** What has passed of its slice; that we came late to look is nobody's fault. */
  #sinceOf(timer: Timer): number {
    return Math.min(Math.max(0, this.#now() - timer.since), timer.sliceMs);
  }

  #stop(timer: Timer): void {
    clearTimeout(timer.handle);
    this.#timers.delete(timer);
  }
}
