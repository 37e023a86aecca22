// One WebSocket of ours: batches in, back-pressure out, a heartbeat, and a signal that says it is gone.
import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import { textFrames } from './frames.js';
import type { Line } from './line.js';
import { sharedBy } from './shared.js';

/** Nothing more is read for a client while so many bytes wait in its socket. */
const MAX_WAITING_BYTES = 1024 * 1024;

/** Of a client that was refused; ws would keep its socket for 30 s. */
const REFUSED_GONE_WITHIN_MS = 1000;

export const CLOSE = {
  complete: 1000,
  stopping: 1001,
  notAllowed: 1008,
  ourFault: 1011,
  tooMany: 1013,
  notFound: 4404,
} as const;

const framesOf = sharedBy((lines: readonly Line[]) => textFrames(lines.map(({ json }) => json)));

export interface ConnectionOptions {
  readonly socket: WebSocket;
  /** The TCP connection under it, to which whole frames are written. */
  readonly transport: Duplex;
  readonly pingMs: number;
}

export class Connection {
  readonly #socket: WebSocket;
  readonly #transport: Duplex;
  readonly #gone = new AbortController();
  #isJoining = false;

  constructor({ socket, transport, pingMs }: ConnectionOptions) {
    this.#socket = socket;
    this.#transport = transport;
    const stopPinging = this.#pingEvery(pingMs);
    socket.once('close', () => {
      stopPinging();
      this.#gone.abort();
    });
  }

  /** Aborts when the connection is closed, by whomever. */
  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  /** Sends each line as a message. Waits while too much of it is still here. */
  async sendLines(lines: readonly Line[]): Promise<void> {
    await this.#write(framesOf(lines));
  }

  async send(message: object): Promise<void> {
    await this.#write(textFrames([JSON.stringify(message)]));
  }

  close(code: number, reason = ''): void {
    this.#socket.close(code, reason);
  }

  /** Says why, and does not wait for an answer that a flood of clients may never give. */
  refuse(code: number): void {
    this.close(code);
    const impatience = setTimeout(() => this.cut(), REFUSED_GONE_WITHIN_MS);
    this.gone.addEventListener('abort', () => clearTimeout(impatience));
  }

  /** Without a goodbye, for a client that takes none. */
  cut(): void {
    this.#socket.terminate();
  }

  async #write(frames: Buffer): Promise<void> {
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    this.#joinWritesOfThisTurn();
    if (this.#transport.writableLength + frames.length < MAX_WAITING_BYTES) {
      this.#transport.write(frames);
      return;
    }
    await new Promise<void>((resolve) => this.#transport.write(frames, () => resolve()));
  }

  /** Many small commits may be told in one turn of the event loop: one system call sends them all. */
  #joinWritesOfThisTurn(): void {
    if (this.#isJoining) return;
    this.#isJoining = true;
    this.#transport.cork();
    process.nextTick(() => {
      this.#isJoining = false;
      this.#transport.uncork();
    });
  }

  /** A client that has taken everything and answers no ping is gone. One that is slow is only slow: no ping can reach
   *  it before what waits for it; and while we do not read its messages we see no answer. */
  #pingEvery(pingMs: number): () => void {
    let isAlive = true;
    this.#socket.on('pong', () => {
      isAlive = true;
    });
    const timer = setInterval(() => {
      if (this.#transport.writableLength > 0 || this.#socket.isPaused) return;
      if (!isAlive) return this.cut();
      isAlive = false;
      this.#socket.ping();
    }, pingMs);
    return () => clearInterval(timer);
  }
}
