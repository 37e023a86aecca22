// The client of one agent: pid 1 of a sandbox, which starts programs for us. What it sends is not believed.

/** Messages to and from the confined helper child that touches files; each at most 1 MiB, whole and in order. */
export interface HelperChannel {
  /** Resolves when the message was handed to the helper, so that waiting for it keeps memory bounded. */
  send(message: Buffer): Promise<void>;
  onMessage(handler: (message: Buffer) => void): void;
  /** Called once, also when the helper was already gone. */
  onClosed(handler: (why: Error) => void): void;
  kill(): void;
}
