// What was decided about connections, told to the log and to whoever listens. The first decision of a kind is told at
// once; its repeats are counted and told together, so that a flood of refused connections is a few lines with a count.
import type { Logger } from '../observability/logger.js';
import type { EgressDecision } from './sandbox.js';

/** Kinds (same answer, destination and reason) told one by one in a window; all others of that window share an entry. */
const KINDS_TOLD = 8;
const WINDOW_MS = 1_000;
/** A window that had repeats is followed by one twice as long, up to this. */
const LONGEST_WINDOW_MS = 30_000;

export interface EgressDecisionsOptions {
  readonly log: Logger;
  readonly onDecision?: ((decision: EgressDecision) => void) | undefined;
  readonly windowMs?: number;
}

export type SingleDecision = Omit<EgressDecision, 'count'>;

const MANY = { host: null, port: null, reason: 'more destinations than are told one by one' };

export class EgressDecisions {
  readonly #options: EgressDecisionsOptions;
  readonly #kinds = new Map<string, { readonly decision: SingleDecision; repeats: number }>();
  #others = { allowed: 0, refused: 0 };
  #windowMs: number;
  #window: NodeJS.Timeout | undefined;

  constructor(options: EgressDecisionsOptions) {
    this.#options = options;
    this.#windowMs = options.windowMs ?? WINDOW_MS;
  }

  tell({ allowed, host, port, reason }: SingleDecision): void {
    const decision = { allowed, host, port, reason };
    const kind = JSON.stringify(decision);
    const known = this.#kinds.get(kind);
    if (known) {
      known.repeats += 1;
    } else if (this.#kinds.size < KINDS_TOLD) {
      this.#kinds.set(kind, { decision, repeats: 0 });
      this.#emit({ ...decision, count: 1 });
    } else {
      this.#others[allowed ? 'allowed' : 'refused'] += 1;
    }
    this.#window ??= setTimeout(() => this.flush(), this.#windowMs).unref();
  }

  /** Tells what is counted and not told yet, and begins anew. */
  flush(): void {
    clearTimeout(this.#window);
    this.#window = undefined;
    const repeated = [...this.#kinds.values()].filter(({ repeats }) => repeats > 0);
    const others = this.#others;
    const hadMore = repeated.length + others.allowed + others.refused > 0;
    const { windowMs = WINDOW_MS } = this.#options;
    this.#windowMs = hadMore ? Math.min(2 * this.#windowMs, LONGEST_WINDOW_MS) : windowMs;
    this.#kinds.clear();
    this.#others = { allowed: 0, refused: 0 };
    for (const { decision, repeats } of repeated) this.#emit({ ...decision, count: repeats });
    if (others.refused > 0) this.#emit({ ...MANY, allowed: false, count: others.refused });
    if (others.allowed > 0) this.#emit({ ...MANY, allowed: true, count: others.allowed });
  }

  #emit(decision: EgressDecision): void {
    this.#options.log.info(decision, 'egress decision');
    this.#options.onDecision?.(decision);
  }
}
