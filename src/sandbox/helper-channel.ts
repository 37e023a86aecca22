/** Messages to and from the confined helper child that touches files; each at most 1 MiB, whole and in order. */
export interface HelperChannel {
  /** Resolves when the message was handed over, so that waiting for it keeps memory bounded. */
  send(message: Buffer): Promise<void>;
  onMessage(handler: (message: Buffer) => void): void;
  /** Called once, also when the helper was already gone. */
  onClosed(handler: (why: Error) => void): void;
  kill(): void;
}

/** As much may be on its way to the helper before senders have to wait. */
const UNDER_WAY = 1024 * 1024;

/** The way to one helper child, for as long as it lives. */
export class AgentHelper implements HelperChannel {
  #onMessage: (message: Buffer) => void = () => {};
  #onClosed: ((why: Error) => void)[] = [];
  #closed: Error | undefined;
  #sent = 0;
  #taken = 0;
  #senders: { readonly at: number; resolve(): void; reject(why: Error): void }[] = [];

  constructor(private readonly agent: { sendMessage(message: Buffer): void; killHelper(): void }) {}

  get isClosed(): boolean {
    return this.#closed !== undefined;
  }

  get isWaiting(): boolean {
    return this.#taken < this.#sent;
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
