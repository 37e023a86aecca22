// A worker thread of the store that is opened again when it dies. What it had been asked and not answered is rejected,
// for nobody can know how far it came; what is asked meanwhile waits, in order.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Transferable } from 'node:worker_threads';
import { StoreUnavailable } from '../errors.js';
import type { WorkerClient } from './worker-client.js';

/** How long a question waits for a worker before it is refused. */
const PATIENCE_MS = 5000;
/** Between two attempts to open one. */
const RETRY_MS = 500;

export class LastingWorker<Q extends object, A extends object> {
  readonly #make: () => WorkerClient<Q, A>;
  readonly #onLost: (error: Error) => void;
  /** Undefined while there is none. */
  #client: WorkerClient<Q, A> | undefined;
  /** Questions that wait for one. */
  readonly #waiting = new Set<(client: WorkerClient<Q, A>) => void>();
  readonly #closing = new AbortController();
  #reopening: Promise<void> | undefined;

  constructor(make: () => WorkerClient<Q, A>, onLost: (error: Error) => void) {
    this.#make = make;
    this.#onLost = onLost;
  }

  /** Resolves when the first one is ready; rejects with the reason why it cannot be. */
  start(): Promise<void> {
    return this.#open();
  }

  ask(question: Q, transfer: readonly Transferable[] = []): Promise<A> {
    if (this.#client?.isGone === false) return this.#client.ask(question, transfer);
    if (this.#closing.signal.aborted) {
      return Promise.reject(new StoreUnavailable(new Error('the store is closed'), 'notStarted'));
    }
    return new Promise((resolve, reject) => {
      const go = (client: WorkerClient<Q, A>) => {
        clearTimeout(impatience);
        resolve(client.ask(question, transfer));
      };
      const impatience = setTimeout(() => {
        this.#waiting.delete(go);
        reject(new StoreUnavailable(new Error('the worker of the store is not back yet'), 'notStarted'));
      }, PATIENCE_MS);
      this.#waiting.add(go);
    });
  }

  /** Ends the worker when it has answered everything asked so far. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#reopening;
    await this.#client?.close();
  }

  async #open(): Promise<void> {
    const client = this.#make();
    await client.ready;
    void client.lost.then((error) => this.#lose(error));
    // First who waited, then who comes.
    for (const go of this.#waiting) go(client);
    this.#waiting.clear();
    this.#client = client;
  }

  #lose(error: Error): void {
    if (this.#closing.signal.aborted) return;
    this.#client = undefined;
    this.#onLost(error);
    this.#reopening = this.#reopen();
  }

  async #reopen(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      try {
        return await this.#open();
      } catch (error) {
        this.#onLost(error as Error);
        await sleep(RETRY_MS, undefined, { signal: this.#closing.signal }).catch(() => {});
      }
    }
  }
}
