// Sandboxes start a few at a time, and their owners take turns. A start is work for the processor: of a hundred at once each
// would take as long as all of them together, the first as long as the last, and some so long that they pass for dead.
import { availableParallelism } from 'node:os';
import { FairQueue } from '../lib/fair-queue.js';

/** A start that takes longer waits for something else than the processor, and keeps nobody waiting any more. */
const MOST_MS = 10_000;

/** From being ready. */
const CALM_MS = 2_000;

/** Whose start it is. */
export interface Starter {
  /** Owners of sandboxes take turns, and so do the sandboxes of one owner. */
  readonly owner: string;
  readonly sandbox: string;
  /** Aborted when the start is not wanted any more; it leaves the queue at once. */
  readonly signal?: AbortSignal;
}

interface Waiting {
  readonly sandbox: string;
  go(): void;
}

export class Starts {
  readonly #queue = new FairQueue<Waiting>();
  readonly #mostMs: number;
  readonly #calmMs: number;
  #free: number;

  constructor(atOnce = 2 * availableParallelism(), mostMs = MOST_MS) {
    this.#free = atOnce;
    this.#mostMs = mostMs;
    this.#calmMs = Math.min(mostMs, CALM_MS);
  }

  /** How many wait for their turn. */
  get waiting(): number {
    return this.#queue.inOrder().length;
  }

  /** Of the first start of this sandbox that waits: 1 is next. 0 when none waits. */
  position(sandbox: string): number {
    return 1 + this.#queue.inOrder().findIndex((each) => each.sandbox === sandbox);
  }

  /** Calls `start` when its turn has come. Others follow when what it gives is calm, or never will be. */
  async inTurn<T extends { readonly ready: Promise<void>; readonly calm: Promise<void> }>(
    starter: Starter,
    start: () => Promise<T>,
  ): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await this.#turn(starter);
    const leave = this.#leaveOnce();
    try {
      const started = await start();
      // One that is ready may be kept from its last steps for long, by a program of its session.
      const leaveSoon = () => setTimeout(leave, this.#calmMs).unref();
      started.ready.then(leaveSoon, leave);
      started.calm.then(leave, leave);
      return started;
    } catch (error) {
      leave();
      throw error;
    }
  }

  #turn({ owner, sandbox, signal }: Starter): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const leave = () => {
        if (this.#queue.remove(waiting)) reject(signal?.reason);
      };
      const go = () => {
        signal?.removeEventListener('abort', leave);
        resolve();
      };
      const waiting = { sandbox, go };
      this.#queue.add(waiting, owner, sandbox);
      signal?.addEventListener('abort', leave, { once: true });
    });
  }

  #leaveOnce(): () => void {
    let isHere = true;
    const leave = () => {
      if (!isHere) return;
      isHere = false;
      clearTimeout(late);
      const next = this.#queue.take();
      if (next) next.go();
      else this.#free += 1;
    };
    const late = setTimeout(leave, this.#mostMs).unref();
    return leave;
  }
}
