// Sandboxes start a few at a time. A start is work for the processor: of a hundred at once each would take as long as all
// of them together, the first as long as the last, and some so long that they pass for dead.
import { availableParallelism } from 'node:os';

/** A start that takes longer waits for something else than the processor, and keeps nobody waiting any more. */
const MOST_MS = 2_000;

export class Starts {
  #free: number;
  readonly #mostMs: number;
  readonly #waiting: (() => void)[] = [];

  constructor(atOnce = 2 * availableParallelism(), mostMs = MOST_MS) {
    this.#free = atOnce;
    this.#mostMs = mostMs;
  }

  /** Calls `start` when its turn has come. Others follow when what it gives is `ready`, or never will be. */
  async inTurn<T extends { readonly ready: Promise<void> }>(start: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    const leave = this.#leaveOnce();
    try {
      const started = await start();
      started.ready.then(leave, leave);
      return started;
    } catch (error) {
      leave();
      throw error;
    }
  }

  #leaveOnce(): () => void {
    let isHere = true;
    const leave = () => {
      if (!isHere) return;
      isHere = false;
      clearTimeout(late);
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free += 1;
    };
    const late = setTimeout(leave, this.#mostMs).unref();
    return leave;
  }
}
