// What a sandbox may use of the network, over all its proxies together.

export interface EgressLimits {
  /** Connections to the proxies at once. */
  readonly connections: number;
  /** Of all connections since the sandbox was made or found again, both directions together. */
  readonly bytes: number;
  /** A connection on which nothing moves for this long is cut. */
  readonly idleMs: number;
  readonly connectMs: number;
  /** From the connection until the request's head must be whole. */
  readonly headMs: number;
}

export const EGRESS_LIMITS: EgressLimits = {
  connections: 64,
  bytes: 10 * 1024 ** 3,
  idleMs: 120_000,
  connectMs: 20_000,
  headMs: 15_000,
};

export class EgressBudget {
  #connections = 0;
  #bytes = 0;

  constructor(readonly limits: EgressLimits) {}

  /** False when there are as many as may be; what was let in is to be let out again. */
  letIn(): boolean {
    if (this.#connections >= this.limits.connections) return false;
    this.#connections += 1;
    return true;
  }

  letOut(): void {
    this.#connections -= 1;
  }

  spend(bytes: number): void {
    this.#bytes += bytes;
  }

  get isSpent(): boolean {
    return this.#bytes > this.limits.bytes;
  }
}
