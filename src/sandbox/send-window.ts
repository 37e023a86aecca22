// Bytes for somebody who may be slow: only so many are under way at once, the rest waits here.
import { type Deferred, deferred } from '../lib/deferred.js';

interface Waiting {
  bytes: Uint8Array;
  readonly taken: Deferred<void>;
  /** Of all bytes ever sent, how many there must be taken for this to be. */
  takenAt: number;
}

export class SendWindow {
  readonly #queue: Waiting[] = [];
  readonly #unconfirmed: Waiting[] = [];
  #send: ((bytes: Uint8Array) => void) | undefined;
  #sendEnd: (() => void) | undefined;
  #isEnding = false;
  #sent = 0;
  #taken = 0;
  #failure: Error | undefined;

  constructor(private readonly maxUnderWay: number) {}

  /** Until this is called everything waits. */
  open(send: (bytes: Uint8Array) => void, sendEnd: () => void): void {
    this.#send = send;
    this.#sendEnd = sendEnd;
    this.#pump();
  }

  /** Resolves when the other side has taken all of it. */
  write(bytes: Uint8Array): Promise<void> {
    if (this.#failure) return Promise.reject(this.#failure);
    if (bytes.length === 0) return Promise.resolve();
    const taken = deferred();
    this.#queue.push({ bytes, taken, takenAt: 0 });
    this.#pump();
    return taken.promise;
  }

  /** The other side took so many more. False when it never got that many. */
  confirm(count: number): boolean {
    this.#taken += count;
    if (this.#taken > this.#sent) return false;
    while (this.#unconfirmed[0] && this.#unconfirmed[0].takenAt <= this.#taken) {
      this.#unconfirmed.shift()!.taken.resolve();
    }
    this.#pump();
    return true;
  }

  /** Nobody takes anything any more. */
  fail(why: Error): void {
    if (this.#failure) return;
    this.#failure = why;
    for (const { taken } of [...this.#unconfirmed.splice(0), ...this.#queue.splice(0)]) taken.reject(why);
  }

  /** Tells the end when all that was written before has been sent. */
  end(): void {
    this.#isEnding = true;
    this.#pump();
  }

  get isEnding(): boolean {
    return this.#isEnding;
  }

  #pump(): void {
    while (this.#send && this.#queue[0]) {
      const room = this.maxUnderWay - (this.#sent - this.#taken);
      if (room <= 0) return;
      const first = this.#queue[0];
      const piece = first.bytes.subarray(0, room);
      first.bytes = first.bytes.subarray(piece.length);
      this.#sent += piece.length;
      if (first.bytes.length === 0) {
        first.takenAt = this.#sent;
        this.#unconfirmed.push(this.#queue.shift()!);
      }
      this.#send(piece);
    }
    if (this.#isEnding && this.#queue.length === 0) {
      this.#sendEnd?.();
      this.#sendEnd = undefined;
    }
  }
}
