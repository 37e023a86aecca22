// Whether connections inside a sandbox are carried to the egress socket: asked for by us, done by the agent.
import { deferred } from '../lib/deferred.js';
import type { AttentiveClock, CouldAnswer } from './attentive-clock.js';

/** From the time at which the agent can do it. */
const BRIDGE_WITHIN_MS = 10_000;

export interface AgentBridgeOptions {
  readonly clock: AttentiveClock;
  readonly couldAnswer: () => CouldAnswer;
  /** Settles when the agent has started, or never will. */
  readonly hello: Promise<void>;
  readonly ask: (isWanted: boolean) => void;
}

export class AgentBridge {
  readonly #options: AgentBridgeOptions;
  #asked = deferred();
  #end: Error | undefined;

  constructor(options: AgentBridgeOptions) {
    this.#options = options;
    this.#asked.promise.catch(() => {});
  }

  /** Resolves when the agent says that it is as it is wanted. */
  want(isWanted: boolean): Promise<void> {
    const asked = deferred();
    this.#asked = asked;
    asked.promise.catch(() => {});
    if (this.#end) asked.reject(this.#end);
    this.#options.ask(isWanted);
    void this.#giveUpInTime(asked);
    return asked.promise;
  }

  said(isUp: boolean): void {
    if (isUp) this.#asked.resolve();
    else this.#asked.reject(new Error('the bridge ended'));
  }

  close(why: Error): void {
    this.#end = why;
    this.#asked.reject(why);
  }

  /** An agent that has not started cannot be late with this. */
  async #giveUpInTime({ promise, reject }: ReturnType<typeof deferred<void>>): Promise<void> {
    const { clock, couldAnswer, hello } = this.#options;
    if (
      !(await hello.then(
        () => true,
        () => false,
      ))
    )
      return;
    const tooLate = new Error(
      `the bridge did not come up within ${BRIDGE_WITHIN_MS} ms in which the agent could have answered`,
    );
    const giveUp = clock.after(BRIDGE_WITHIN_MS, () => reject(tooLate), couldAnswer());
    void promise.then(giveUp, giveUp);
  }
}
