// What goes on in one sandbox: what is being started, and what runs. Everything is accounted for from the turn in which it
// is asked for, so that a freeze finds it and closing misses nothing.
import { lastingController } from '../lib/lasting-controller.js';
import type { Logger } from '../observability/logger.js';
import type { Agent } from './agent.js';
import type { Launched } from './launch.js';
import type { LimitGroup } from './limits/limits.js';
import { SandboxClosed } from './sandbox.js';
import { Stillness } from './stillness.js';

/** Something that runs: an agent or a one-shot helper. */
interface Running {
  readonly pid: number;
  readonly ended: Promise<unknown>;
  kill(why: string): void;
}

export class Ongoing {
  readonly agents = new Set<Agent>();
  readonly helpers = new Set<Launched>();
  readonly stillness: Stillness;
  readonly #starting = new Set<Promise<unknown>>();
  readonly #closing = lastingController();

  constructor(options: { readonly group: () => Promise<LimitGroup>; readonly log: Logger }) {
    this.stillness = new Stillness({ ...options, agents: this.agents, starting: this.#starting });
  }

  /** Aborted when nothing starts any more. */
  get signal(): AbortSignal {
    return this.#closing.signal;
  }

  get isClosed(): boolean {
    return this.signal.aborted;
  }

  requireOpen(): void {
    this.signal.throwIfAborted();
  }

  /** Work that is to run something: accounted for from this turn on, or from the one in which the sandbox may move again. */
  async begin<T>(work: () => Promise<T>): Promise<T> {
    for (let still = this.stillness.over; still; still = this.stillness.over) await still;
    return this.#account(work());
  }

  start<T extends Running>(running: Set<T>, launch: () => Promise<T>): Promise<T> {
    const starting = async () => {
      this.requireOpen();
      const one = await launch();
      running.add(one);
      void one.ended.then(() => running.delete(one));
      if (this.isClosed) one.kill('the sandbox is closed');
      return one;
    };
    return this.#account(starting());
  }

  /** Nothing starts any more. */
  close(): void {
    if (!this.isClosed) this.#closing.abort(new SandboxClosed());
    this.stillness.letBegin();
  }

  /** Resolves when nothing runs any more. */
  async endAll(): Promise<void> {
    while (this.#starting.size + this.agents.size + this.helpers.size > 0) {
      const running = [...this.agents, ...this.helpers];
      // A frozen process does not take its end.
      if (running.length > 0) await this.stillness.thaw();
      for (const one of running) one.kill('the sandbox was closed');
      await Promise.allSettled([...this.#starting, ...running.map(({ ended }) => ended)]);
    }
  }

  #account<T>(starting: Promise<T>): Promise<T> {
    this.#starting.add(starting);
    const done = () => this.#starting.delete(starting);
    starting.then(done, done);
    return starting;
  }
}
