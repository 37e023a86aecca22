// Holds the processes of one sandbox still while its tree is looked at, and lets nothing new begin meanwhile: what is being
// started when stillness is wanted is waited for, what comes later waits itself.
import { setTimeout as sleep } from 'node:timers/promises';
import { type Deferred, deferred } from '../lib/deferred.js';
import type { Logger } from '../observability/logger.js';
import type { Agent } from './agent.js';
import { continueAll, stopAll } from './freeze.js';
import type { LimitGroup } from './limits/limits.js';
import { membersOf } from './members.js';

/** Want of descriptors or memory passes: a thaw that failed is tried again so often. */
const THAW_AGAIN_MS = 500;

export interface StillnessOptions {
  readonly agents: ReadonlySet<Agent>;
  /** What is being started. */
  readonly starting: ReadonlySet<Promise<unknown>>;
  readonly group: () => Promise<LimitGroup>;
  readonly log: Logger;
}

interface Frozen {
  readonly agents: readonly Agent[];
  readonly stopped: readonly number[];
}

export class Stillness {
  readonly #options: StillnessOptions;
  #frozen: Frozen | undefined;
  #again: Promise<void> | undefined;
  #over: Deferred<void> | undefined;

  constructor(options: StillnessOptions) {
    this.#options = options;
  }

  /** Resolves when things may begin again; undefined when they may now. */
  get over(): Promise<void> | undefined {
    return this.#over?.promise;
  }

  async freeze(): Promise<'frozen' | 'stopped' | 'idle'> {
    if (this.#over || this.#frozen) throw new Error('the sandbox is frozen already');
    this.#over = deferred();
    const { starting, agents: living, group } = this.#options;
    await Promise.allSettled([...starting]);
    const agents = [...living];
    if (agents.length === 0) return 'idle';
    for (const agent of agents) agent.clock.pause();
    try {
      const own = await group();
      const isFrozen = await own.freeze();
      this.#frozen = { agents, stopped: isFrozen ? [] : await stopAll(() => membersOf(own, agents)) };
      return isFrozen ? 'frozen' : 'stopped';
    } catch (error) {
      for (const agent of agents) agent.clock.resume();
      this.letBegin();
      throw error;
    }
  }

  /** One that fails is tried again, also when nobody asks for it: a session must not stay as it is for want of a moment. */
  async thaw(): Promise<void> {
    const frozen = this.#frozen;
    if (frozen) {
      try {
        await (await this.#options.group()).thaw();
      } catch (error) {
        this.#again ??= this.#thawAgain();
        throw error;
      }
      if (this.#frozen === frozen) this.#moves(frozen);
    }
    this.letBegin();
  }

  /** Nobody is held back any more, whatever is still frozen. */
  letBegin(): void {
    this.#over?.resolve();
    this.#over = undefined;
  }

  #moves({ stopped, agents }: Frozen): void {
    this.#frozen = undefined;
    continueAll(stopped);
    for (const agent of agents) agent.clock.resume();
  }

  async #thawAgain(): Promise<void> {
    while (this.#frozen) {
      await sleep(THAW_AGAIN_MS, undefined, { ref: false });
      await this.thaw().catch((err: unknown) => {
        this.#options.log.error({ err }, 'a sandbox could not be thawed yet');
      });
    }
    this.#again = undefined;
  }
}
