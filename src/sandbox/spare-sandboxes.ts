// Sandboxes that stand ready, so that a session does not wait for one to be made. Each has a workspace, a uid, limits and
// an agent of its own that nothing has used; whoever takes one keeps it, and none comes back.
import { isDeepStrictEqual } from 'node:util';
import type { Logger } from '../observability/logger.js';
import type { BubblewrapSandbox } from './bubblewrap-sandbox.js';
import type { SandboxLimits } from './sandbox.js';

/** The first program of whoever took one goes first. */
const REFILL_AFTER_MS = 20;

export interface SpareSandboxesOptions {
  /** Only who wants exactly these is served. */
  readonly limits: SandboxLimits;
  /** So many at most; one while nobody asks. */
  readonly most: number;
  /** Nobody has asked for this long: more than one are not needed. */
  readonly quietMs: number;
  readonly make: () => Promise<BubblewrapSandbox>;
  /** Whether one more takes nothing from anybody. */
  readonly hasRoom: () => boolean;
  readonly log: Logger;
}

export class SpareSandboxes {
  readonly #options: SpareSandboxesOptions;
  readonly #ready: BubblewrapSandbox[] = [];
  readonly #quiet: NodeJS.Timeout;
  #wanted = 1;
  #soon: NodeJS.Timeout | undefined;
  #filling: Promise<void> | undefined;
  #isClosed = false;

  constructor(options: SpareSandboxesOptions) {
    this.#options = options;
    this.#quiet = setInterval(() => void this.#shrink(), options.quietMs).unref();
  }

  get count(): number {
    return this.#ready.length;
  }

  /** Makes what is missing, one after the other. One that fails is tried again when the next one is asked for. */
  fill(): Promise<void> {
    this.#filling ??= this.#fill()
      .catch((err: unknown) => this.#options.log.warn({ err }, 'no spare sandbox'))
      .finally(() => {
        this.#filling = undefined;
      });
    return this.#filling;
  }

  /** Null when there is none, or none with these limits. */
  take(limits: SandboxLimits): BubblewrapSandbox | null {
    if (this.#isClosed || !isDeepStrictEqual(limits, this.#options.limits)) return null;
    this.#quiet.refresh();
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      void this.fill();
    }, REFILL_AFTER_MS);
    const taken = this.#ready.shift();
    if (!taken) this.#wanted = Math.min(this.#wanted + 1, this.#options.most);
    return taken ?? null;
  }

  /** Gives one up for what it holds. False when there is none. */
  async giveUp(): Promise<boolean> {
    if (this.#ready.length === 0) await this.#filling;
    const spare = this.#ready.pop();
    await spare?.remove();
    return spare !== undefined;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#quiet);
    clearTimeout(this.#soon);
    await this.#filling;
    await Promise.all(this.#ready.splice(0).map((spare) => spare.remove()));
  }

  async #fill(): Promise<void> {
    for (const spare of [...this.#ready]) await this.#warmAgain(spare);
    const { make, hasRoom } = this.#options;
    while (!this.#isClosed && this.#ready.length < this.#wanted && hasRoom()) {
      const spare = await make();
      try {
        await spare.warm();
      } catch (error) {
        await spare.remove();
        throw error;
      }
      this.#ready.push(spare);
    }
  }

  /** Its processes have ended if nobody asked for long; now somebody does. */
  async #warmAgain(spare: BubblewrapSandbox): Promise<void> {
    try {
      await spare.warm();
    } catch (error) {
      const at = this.#ready.indexOf(spare);
      // Who has taken it meanwhile may have ended it.
      if (at < 0) return;
      this.#ready.splice(at, 1);
      await spare.remove();
      throw error;
    }
  }

  async #shrink(): Promise<void> {
    this.#wanted = 1;
    while (this.#ready.length > 1 && (await this.giveUp().catch(() => false)));
  }
}
