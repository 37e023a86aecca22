// The way out of one sandbox: what it may reach and has used, and the proxies that hold it to that. Proxies of its own
// policy follow a change of it; a program with a grant of its own (pip) has a proxy of its own beside them.
import { EgressProxy } from './egress.js';
import { EgressBudget } from './egress-budget.js';
import { EgressDecisions, type SingleDecision } from './egress-decisions.js';
import type { EgressRefusal } from './egress-refusal.js';
import type { EgressPolicy, SandboxSpec } from './sandbox.js';
import type { SandboxHost } from './sandbox-host.js';

/** What is kept of the hosts that a program with a grant of its own was refused. */
const MAX_REFUSED = 16;

/** What was refused so far. */
export type Refusals = () => readonly EgressRefusal[];

/** Leaves nothing behind of a proxy that could not be started. */
async function startOrClose(starting: Promise<void>, close: () => Promise<void>): Promise<void> {
  try {
    await starting;
  } catch (error) {
    await close().catch(() => {});
    throw error;
  }
}

export class SandboxEgress {
  readonly #host: SandboxHost;
  readonly #owner: number | null;
  readonly #budget: EgressBudget;
  readonly #decisions: EgressDecisions;
  readonly #following = new Set<EgressProxy>();
  #policy: EgressPolicy;
  #told: SandboxSpec['onEgress'];

  constructor(host: SandboxHost, spec: SandboxSpec, owner: number | null) {
    this.#host = host;
    this.#owner = owner;
    this.#policy = spec.egress;
    this.#told = spec.onEgress;
    this.#budget = new EgressBudget(host.egressLimits);
    this.#decisions = new EgressDecisions({
      log: host.log.child({ sandbox: spec.id }),
      onDecision: (decision) => this.#told?.(decision),
    });
  }

  /** Who is told from now on. */
  tellTo(told: SandboxSpec['onEgress']): void {
    this.#told = told;
  }

  get policy(): EgressPolicy {
    return this.#policy;
  }

  get isOpen(): boolean {
    return this.#policy.allow.length > 0;
  }

  /** Holds from now on: connections to hosts that are no longer allowed are cut. */
  setPolicy(policy: EgressPolicy): void {
    this.#policy = policy;
    for (const proxy of this.#following) proxy.setPolicy(policy);
  }

  /** A proxy of the sandbox's own policy. */
  async open(socketPath: string): Promise<{ close(): Promise<void> }> {
    const proxy = this.#proxy(socketPath, this.#policy, (decision) => this.#decisions.tell(decision));
    const close = () => {
      this.#following.delete(proxy);
      return proxy.close();
    };
    this.#following.add(proxy);
    await startOrClose(proxy.start(), close);
    return { close };
  }

  /** A proxy for one program; `refused` tells which hosts it was kept from, and why. */
  async openFor(
    socketPath: string,
    grant: EgressPolicy,
  ): Promise<{ close(): Promise<void>; refused: Refusals }> {
    const refused = new Map<string, EgressRefusal>();
    const proxy = this.#proxy(socketPath, grant, (decision) => {
      const { allowed, host, port, reason } = decision;
      if (!allowed && host !== null && refused.size < MAX_REFUSED) {
        refused.set(`${host}:${port} ${reason}`, { host: `${host}:${port}`, reason });
      }
      this.#decisions.tell(decision);
    });
    await startOrClose(proxy.start(), () => proxy.close());
    return { close: () => proxy.close(), refused: () => [...refused.values()] };
  }

  /** Tells what is counted and not told yet. */
  flush(): void {
    this.#decisions.flush();
  }

  #proxy(
    socketPath: string,
    policy: EgressPolicy,
    onDecision: (decision: SingleDecision) => void,
  ): EgressProxy {
    const { log, ownAddresses } = this.#host;
    return new EgressProxy({
      socketPath,
      policy,
      log,
      budget: this.#budget,
      onDecision,
      forbid: ownAddresses,
      ...(this.#owner === null ? {} : { owner: this.#owner }),
    });
  }
}
