// Asks one of the store's worker threads and pairs its answers with the questions.
import { type Transferable, Worker } from 'node:worker_threads';
import { StoreUnavailable } from '../errors.js';
import { type Failure, toError } from './failure.js';

export type Answer<A> = { readonly id: number } & (A | { readonly failure: Failure });

export type FromWorker<A> =
  | { readonly ready: true }
  | { readonly ready: false; readonly message: string }
  | { readonly answers: readonly Answer<A>[] };

interface Asked<A> {
  resolve(answer: A): void;
  reject(error: Error): void;
}

export class WorkerClient<Q extends object, A extends object> {
  readonly #worker: Worker;
  readonly #asked = new Map<number, Asked<A>>();
  readonly #exited: Promise<void>;
  #lastId = 0;
  #gone: Error | undefined;
  readonly ready: Promise<void>;

  constructor(file: URL, workerData: object) {
    const worker = new Worker(file, { workerData });
    this.#worker = worker;
    this.ready = new Promise((resolve, reject) => {
      worker.on('message', (message: FromWorker<A>) => {
        if ('answers' in message) this.#answer(message.answers);
        else if (message.ready) resolve();
        else reject(new Error(message.message));
      });
      worker.on('error', (error) => {
        this.#lose(error as Error);
        reject(error);
      });
    });
    this.#exited = new Promise((resolve) => {
      worker.on('exit', () => {
        this.#lose(new Error('the store is closed'));
        resolve();
      });
    });
  }

  ask(question: Q, transfer: readonly Transferable[] = []): Promise<A> {
    if (this.#gone) return Promise.reject(new StoreUnavailable(this.#gone));
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId;
      this.#worker.postMessage({ id, ...question }, transfer);
      this.#asked.set(id, { resolve, reject });
    });
  }

  /** Ends the worker when it has answered everything asked so far. */
  close(): Promise<void> {
    this.#gone ??= new Error('the store is closed');
    this.#worker.postMessage('close');
    return this.#exited;
  }

  #answer(answers: readonly Answer<A>[]): void {
    for (const answer of answers) {
      const asked = this.#asked.get(answer.id);
      this.#asked.delete(answer.id);
      if ('failure' in answer) asked?.reject(toError(answer.failure));
      else asked?.resolve(answer);
    }
  }

  #lose(error: Error): void {
    this.#gone ??= error;
    for (const { reject } of this.#asked.values()) reject(new StoreUnavailable(error));
    this.#asked.clear();
  }
}
