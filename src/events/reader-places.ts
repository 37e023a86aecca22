// Live readers, counted and ended together: a flood is refused, and when the service stops each gets its last events.
import { lastingController } from '../lib/lasting-controller.js';

/** How long a reader may take for its last events when the service stops. */
const LAST_CALL_MS = 2000;

export class ReaderPlaces {
  readonly limit: number;
  readonly #lastCall = lastingController();
  /** How to end each reader that does not end by itself. */
  readonly #taken = new Set<() => void>();
  #emptied: (() => void) | undefined;

  constructor(limit: number) {
    this.limit = limit;
  }

  /** Aborts when the service stops: readers deliver what is stored, and end. */
  get lastCall(): AbortSignal {
    return this.#lastCall.signal;
  }

  get taken(): number {
    return this.#taken.size;
  }

  /** Gives the place back when called; undefined when all are taken. */
  take(cut: () => void): (() => void) | undefined {
    if (this.#taken.size >= this.limit || this.lastCall.aborted) return undefined;
    // A function of its own, for the same `cut` may come twice.
    const occupant = () => cut();
    this.#taken.add(occupant);
    return () => {
      this.#taken.delete(occupant);
      if (this.#taken.size === 0) this.#emptied?.();
    };
  }

  /** Resolves when every reader is gone. */
  async close(): Promise<void> {
    this.#lastCall.abort();
    if (this.#taken.size === 0) return;
    const emptied = new Promise<void>((resolve) => {
      this.#emptied = resolve;
    });
    const impatience = setTimeout(() => {
      for (const cut of this.#taken) cut();
    }, LAST_CALL_MS);
    await emptied;
    clearTimeout(impatience);
  }
}
