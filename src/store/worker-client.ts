// Asks one of the store's worker threads and pairs its answers with the questions. What is asked in one turn of the event
// loop travels in one message: a message wakes the other thread, which costs more than most of what it is asked.
import { type Transferable, Worker } from 'node:worker_threads';
import { StoreUnavailable } from '../errors.js';
import { deferred } from '../lib/deferred.js';
import { type Failure, toError } from './failure.js';

export type Answer<A> = { readonly id: number } & (A | { readonly failure: Failure });

export type FromWorker<A> =
  | { readonly ready: true }
  | { readonly ready: false; readonly message: string }
  | { readonly answers: readonly Answer<A>[] };

export type ToWorker<Q> = readonly (Q & { readonly id: number })[] | 'close';

interface Asked<A> {
  resolve(answer: A): void;
  reject(error: Error): void;
}

export class WorkerClient<Q extends object, A extends object> {
  readonly #worker: Worker;
  readonly #asked = new Map<number, Asked<A>>();
  /** Asked in this turn. */
  #outbox: (Q & { readonly id: number })[] = [];
  #transfer: Transferable[] = [];
  /** Resolves when the worker is gone, with the reason. */
  readonly lost: Promise<Error>;
  #lastId = 0;
  #gone: Error | undefined;
  readonly ready: Promise<void>;

  constructor(file: URL, workerData: object) {
    const worker = new Worker(file, { workerData });
    this.#worker = worker;
    const ready = deferred();
    const lost = deferred<Error>();
    this.ready = ready.promise;
    this.lost = lost.promise;
    worker.on('message', (message: FromWorker<A>) => {
      if ('answers' in message) this.#answer(message.answers);
      else if (message.ready) ready.resolve();
      else ready.reject(new Error(message.message));
    });
    worker.on('error', (error) => this.#lose(error as Error));
    worker.on('exit', (code) => {
      const error = this.#lose(new Error(`a worker of the store ended with code ${code}`));
      ready.reject(error);
      lost.resolve(error);
    });
  }

  /** It answers nothing any more. */
  get isGone(): boolean {
    return this.#gone !== undefined;
  }

  ask(question: Q, transfer: readonly Transferable[] = []): Promise<A> {
    if (this.#gone) return Promise.reject(new StoreUnavailable(this.#gone, 'notStarted'));
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId;
      this.#asked.set(id, { resolve, reject });
      if (this.#outbox.push({ id, ...question }) === 1) setImmediate(() => this.#post());
      this.#transfer.push(...transfer);
    });
  }

  /** Ends the worker when it has answered everything asked so far. */
  async close(): Promise<void> {
    this.#gone ??= new Error('the store is closed');
    this.#post();
    this.#worker.postMessage('close' satisfies ToWorker<Q>);
    await this.lost;
  }

  #post(): void {
    const [questions, transfer] = [this.#outbox, this.#transfer];
    this.#outbox = [];
    this.#transfer = [];
    if (questions.length > 0) this.#worker.postMessage(questions satisfies ToWorker<Q>, transfer);
  }

  #answer(answers: readonly Answer<A>[]): void {
    for (const answer of answers) {
      const asked = this.#asked.get(answer.id);
      this.#asked.delete(answer.id);
      if ('failure' in answer) asked?.reject(toError(answer.failure));
      else asked?.resolve(answer);
    }
  }

  /** What was asked may have been done, and nobody will say. Gives the first reason why the worker is gone. */
  #lose(error: Error): Error {
    this.#gone ??= error;
    for (const { reject } of this.#asked.values()) reject(new StoreUnavailable(this.#gone, 'unknown'));
    this.#asked.clear();
    return this.#gone;
  }
}
