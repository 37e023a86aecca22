// The way from the service to the helper children of one agent, which touch files. Each helper has a number, so that what
// is said of one that has gone is not taken for its successor's.
import { ProtocolError } from './protocol.js';

/** Messages to and from one confined helper child; each at most 1 MiB, whole and in order. */
export interface HelperChannel {
  /** Resolves when the message was handed over, so that waiting for it keeps memory bounded. */
  send(message: Buffer): Promise<void>;
  onMessage(handler: (message: Buffer) => void): void;
  /** Called once, also when the helper was already gone. */
  onClosed(handler: (why: Error) => void): void;
  /** An answer is awaited, however long it takes, until the returned function is called. */
  expectAnswer(): () => void;
  /** Takes no new work: whoever connects from now on gets another helper. */
  retire(): void;
  kill(): void;
}

/** As much may be on its way to the helper before senders have to wait. */
const UNDER_WAY = 1024 * 1024;

export interface AgentHelpersOptions {
  sendMessage(number: number, message: Buffer): void;
  killHelper(number: number): void;
}

/** Those of one agent: one that takes work, and those that only finish theirs. */
export class AgentHelpers {
  readonly #options: AgentHelpersOptions;
  readonly #helpers = new Map<number, AgentHelper>();
  #current: AgentHelper | undefined;
  #closed: Error | undefined;
  #lastNumber = 0;

  constructor(options: AgentHelpersOptions) {
    this.#options = options;
  }

  get isBusy(): boolean {
    return [...this.#helpers.values()].some((each) => each.isBusy);
  }

  /** The helper that takes work, or a new one. */
  connect(): HelperChannel {
    if (this.#current?.isOpen) return this.#current;
    this.#lastNumber += 1;
    const number = this.#lastNumber;
    this.#current = new AgentHelper({
      sendMessage: (message) => this.#options.sendMessage(number, message),
      killHelper: () => this.#options.killHelper(number),
    });
    if (this.#closed) this.#current.close(this.#closed);
    else this.#helpers.set(number, this.#current);
    return this.#current;
  }

  received(number: number, message: Buffer): void {
    this.#find(number)?.received(message);
  }

  /** The window of one helper, to which it confirms what it took. */
  windowOf(number: number): Pick<AgentHelper, 'confirm'> | undefined {
    return this.#find(number);
  }

  ended(number: number): void {
    this.#find(number)?.close(new Error('the file helper ended'));
    this.#helpers.delete(number);
  }

  close(why: Error): void {
    this.#closed = why;
    for (const each of this.#helpers.values()) each.close(why);
    this.#helpers.clear();
  }

  /** Undefined for one that has gone. Throws ProtocolError for one that never was. */
  #find(number: number): AgentHelper | undefined {
    if (number < 1 || number > this.#lastNumber)
      throw new ProtocolError('a helper spoke that nobody asked for');
    return this.#helpers.get(number);
  }
}

/** The way to one helper child, for as long as it lives. */
class AgentHelper implements HelperChannel {
  #onMessage: (message: Buffer) => void = () => {};
  #onClosed: ((why: Error) => void)[] = [];
  #closed: Error | undefined;
  #isRetired = false;
  #awaited = 0;
  #sent = 0;
  #taken = 0;
  #senders: { readonly at: number; resolve(): void; reject(why: Error): void }[] = [];

  constructor(private readonly agent: { sendMessage(message: Buffer): void; killHelper(): void }) {}

  get isOpen(): boolean {
    return this.#closed === undefined && !this.#isRetired;
  }

  /** Something was sent that it has not taken, or an answer is awaited. */
  get isBusy(): boolean {
    return this.#awaited > 0 || this.#taken < this.#sent;
  }

  send(message: Buffer): Promise<void> {
    if (this.#closed) return Promise.reject(this.#closed);
    this.#sent += message.length;
    this.agent.sendMessage(message);
    const at = this.#sent - UNDER_WAY;
    if (at <= this.#taken) return Promise.resolve();
    return new Promise((resolve, reject) => this.#senders.push({ at, resolve, reject }));
  }

  onMessage(handler: (message: Buffer) => void): void {
    this.#onMessage = handler;
  }

  onClosed(handler: (why: Error) => void): void {
    if (this.#closed) handler(this.#closed);
    else this.#onClosed.push(handler);
  }

  expectAnswer(): () => void {
    this.#awaited += 1;
    let isAwaited = true;
    return () => {
      if (isAwaited) this.#awaited -= 1;
      isAwaited = false;
    };
  }

  retire(): void {
    this.#isRetired = true;
  }

  kill(): void {
    if (!this.#closed) this.agent.killHelper();
  }

  received(message: Buffer): void {
    this.#onMessage(message);
  }

  /** The helper took so many bytes. False when it was never sent that many. */
  confirm(count: number): boolean {
    this.#taken += count;
    while (this.#senders[0] && this.#senders[0].at <= this.#taken) this.#senders.shift()!.resolve();
    return this.#taken <= this.#sent;
  }

  close(why: Error): void {
    if (this.#closed) return;
    this.#closed = why;
    for (const sender of this.#senders.splice(0)) sender.reject(why);
    for (const handler of this.#onClosed.splice(0)) handler(why);
  }
}
