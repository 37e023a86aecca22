// Operations on one file helper: numbered, side by side, each with its answer. The helper runs as the session's user,
// so what it says is taken apart with care and never makes us hold more than the operation asked for.
import type { HelperChannel } from './agent.js';
import { FileError } from './sandbox.js';

const PIECE_BYTES = 256 * 1024;
/** Pieces of a body that may be under way; the helper confirms each. */
const PIECES_AHEAD = 4;
/** From an operation that was told to stop and goes on for longer the helper is taken away: it gets no new work, and is
 *  killed as soon as nobody waits for it who was not told to stop as well. */
const STOP_WITHIN_MS = 500;

export interface Operation {
  readonly request: Readonly<Record<string, unknown>>;
  readonly body?: Uint8Array;
  /** A piece of what was read (`B`) or listed (`L`). Throwing ends the operation. */
  onPiece?(kind: string, payload: Buffer): void;
  onWritten?(bytes: number): void;
}

/** The helper did not do what was asked; what it says about that is in `facts`. */
export class HelperRefusal extends Error {
  constructor(readonly facts: Readonly<Record<string, unknown>>) {
    super(String(facts.code));
  }
}

interface Pending {
  readonly operation: Operation;
  written: number;
  /** It was told to stop, and has not in time. */
  isOverdue: boolean;
  moreMayGo: () => void;
  settle(error: Error | undefined, result?: Record<string, unknown>): void;
}

export class HelperConnection {
  readonly #channel: HelperChannel;
  readonly #pending = new Map<number, Pending>();
  #lastNumber = 0;
  #closed: Error | undefined;
  #isRetired = false;

  constructor(channel: HelperChannel) {
    this.#channel = channel;
    channel.onMessage((message) => this.#receive(message));
    channel.onClosed((why) => {
      this.#closed = why;
      for (const pending of [...this.#pending.values()]) pending.settle(helperGone(why));
    });
  }

  /** Takes no operation any more. */
  get isClosed(): boolean {
    return this.#closed !== undefined || this.#isRetired;
  }

  /** Settles when the helper is done with the operation, also when `signal` ended it. */
  async perform(operation: Operation, signal: AbortSignal): Promise<Record<string, unknown>> {
    if (this.#closed) throw helperGone(this.#closed);
    const number = this.#nextNumber();
    const answered = this.#answer(number, operation);
    const answer = this.#channel.expectAnswer();
    const stop = () => this.#stop(number);
    signal.addEventListener('abort', stop, { once: true });
    try {
      void this.#send('R', number, Buffer.from(JSON.stringify(operation.request)));
      if (signal.aborted) stop();
      if (operation.body) void this.#sendBody(number, operation.body, signal);
      return await answered;
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      signal.removeEventListener('abort', stop);
      answer();
      this.#killWhenUseless();
    }
  }

  #nextNumber(): number {
    do this.#lastNumber = (this.#lastNumber + 1) >>> 0;
    while (this.#pending.has(this.#lastNumber));
    return this.#lastNumber;
  }

  #answer(number: number, operation: Operation): Promise<Record<string, unknown>> {
    return new Promise((resolve, reject) => {
      this.#pending.set(number, {
        operation,
        written: 0,
        isOverdue: false,
        moreMayGo: () => {},
        settle: (error, result) => {
          const pending = this.#pending.get(number);
          this.#pending.delete(number);
          pending?.moreMayGo();
          if (error) reject(error);
          else resolve(result ?? {});
        },
      });
    });
  }

  async #sendBody(number: number, body: Uint8Array, signal: AbortSignal): Promise<void> {
    let sent = 0;
    while (sent < body.length) {
      const pending = this.#pending.get(number);
      if (!pending || signal.aborted) return;
      if (sent - pending.written >= PIECES_AHEAD * PIECE_BYTES) {
        await new Promise<void>((resolve) => {
          pending.moreMayGo = resolve;
        });
      } else {
        await this.#send('D', number, body.subarray(sent, sent + PIECE_BYTES));
        sent += PIECE_BYTES;
      }
    }
    if (!signal.aborted) await this.#send('E', number);
  }

  async #send(kind: string, number: number, payload: Uint8Array = Buffer.alloc(0)): Promise<void> {
    const head = Buffer.alloc(5);
    head.write(kind, 0, 'latin1');
    head.writeUInt32BE(number, 1);
    try {
      await this.#channel.send(Buffer.concat([head, payload]));
    } catch (error) {
      this.#pending.get(number)?.settle(helperGone(error));
    }
  }

  #stop(number: number): void {
    const pending = this.#pending.get(number);
    if (!pending) return;
    pending.moreMayGo();
    void this.#send('C', number);
    setTimeout(() => {
      if (this.#pending.get(number) !== pending) return;
      pending.isOverdue = true;
      this.#isRetired = true;
      this.#channel.retire();
      this.#killWhenUseless();
    }, STOP_WITHIN_MS).unref();
  }

  #killWhenUseless(): void {
    if (!this.#isRetired || this.#closed) return;
    if ([...this.#pending.values()].every(({ isOverdue }) => isOverdue)) this.#channel.kill();
  }

  #receive(message: Buffer): void {
    if (message.length < 5) {
      this.#channel.kill();
      return;
    }
    const number = message.readUInt32BE(1);
    const pending = this.#pending.get(number);
    if (!pending) return;
    try {
      this.#handle(pending, String.fromCharCode(message[0]!), message.subarray(5));
    } catch (error) {
      pending.settle(error instanceof FileError ? error : nonsense());
      void this.#send('C', number);
    }
  }

  #handle(pending: Pending, kind: string, payload: Buffer): void {
    switch (kind) {
      case 'P': {
        const written = Number(payload.readBigUInt64BE(0));
        const size = pending.operation.body?.length ?? 0;
        pending.written = Math.max(pending.written, Math.min(written, size));
        pending.moreMayGo();
        pending.operation.onWritten?.(pending.written);
        return;
      }
      case 'X':
        pending.settle(undefined, jsonObject(payload));
        return;
      case '!':
        pending.settle(new HelperRefusal(jsonObject(payload)));
        return;
      default:
        pending.operation.onPiece?.(kind, payload);
    }
  }
}

function jsonObject(payload: Buffer): Record<string, unknown> {
  const value: unknown = JSON.parse(payload.toString('utf8'));
  if (typeof value !== 'object' || value === null) throw nonsense();
  return value as Record<string, unknown>;
}

export function nonsense(): FileError {
  return new FileError('FILE_ERROR', 'The file helper gave an answer that makes no sense; try again.');
}

function helperGone(cause: unknown): FileError {
  const error = new FileError(
    'FILE_ERROR',
    'The file helper of the sandbox ended before it answered; look at what is there and try again.',
  );
  error.cause = cause;
  return error;
}
