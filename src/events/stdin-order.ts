// Standard input that one socket sends goes to its programs in order, one piece after the other. Other messages of the
// socket, a cancel above all, need not wait for a program that does not read, until so much waits that the socket is read no
// further.

const MAX_WAITING = 16;
const MAX_WAITING_BYTES = 1024 * 1024;

export class StdinOrder {
  readonly #failed: (error: unknown) => void;
  #last: Promise<void> = Promise.resolve();
  #waiting = 0;
  #waitingBytes = 0;

  constructor(failed: (error: unknown) => void) {
    this.#failed = failed;
  }

  /** Resolves when more may be added. */
  add(bytes: number, write: () => Promise<void>): void | Promise<void> {
    this.#waiting += 1;
    this.#waitingBytes += bytes;
    const done = this.#last.then(write).catch(this.#failed);
    this.#last = done.then(() => {
      this.#waiting -= 1;
      this.#waitingBytes -= bytes;
    });
    if (this.#waiting >= MAX_WAITING || this.#waitingBytes >= MAX_WAITING_BYTES) return this.#last;
  }
}
