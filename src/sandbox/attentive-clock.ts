// Time during which somebody could have answered. While we do not listen to an agent, or have stopped it, its silence
// means nothing, and no time-out may pass.

interface Timer {
  remainingMs: number;
  since: number;
  handle: NodeJS.Timeout | undefined;
  readonly run: () => void;
}

export class AttentiveClock {
  readonly #timers = new Set<Timer>();
  #pauses = 0;

  /** Calls `run` after so much time in which the clock ran. Returns how to call it off. */
  after(delayMs: number, run: () => void): () => void {
    const timer: Timer = { remainingMs: delayMs, since: 0, handle: undefined, run };
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
      timer.remainingMs -= performance.now() - timer.since;
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
    timer.since = performance.now();
    timer.handle = setTimeout(
      () => {
        this.#stop(timer);
        timer.run();
      },
      Math.max(0, timer.remainingMs),
    );
  }

  #stop(timer: Timer): void {
    clearTimeout(timer.handle);
    this.#timers.delete(timer);
  }
}
