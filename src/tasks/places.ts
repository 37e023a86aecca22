// The places in which tasks run, of the whole service and of each tenant. When more sessions want one than there are,
// they take turns: one task of each, then the next, so that a session with a long queue keeps nobody waiting.
import { Pace } from './pace.js';

/** A session's lane, as seen from here. */
export interface Contender {
  readonly tenant: string;
  /** It has work that may start now. */
  readonly wantsPlace: boolean;
  /** How many of its jobs wait. */
  readonly waiting: number;
  /** Starts one job, which takes its place with `enter` and gives it back with `leave`. */
  startNext(): void;
}

export interface PlacesOptions {
  readonly total: number;
  readonly perTenant: number;
  readonly now?: () => number;
}

export class Places {
  readonly #options: PlacesOptions;
  readonly #service: Pace;
  readonly #tenants = new Map<string, Pace>();
  /** Whose turn it is, in order. */
  readonly #turns = new Set<Contender>();

  constructor(options: PlacesOptions) {
    this.#options = options;
    this.#service = new Pace(options.now);
  }

  /** How long tasks took lately, in all sessions. */
  get meanMs(): number | undefined {
    return this.#service.meanMs;
  }

  get running(): number {
    return this.#service.count;
  }

  runningOf(tenant: string): number {
    return this.#tenants.get(tenant)?.count ?? 0;
  }

  /** Until one of the running tasks ends, of a tenant or of all; undefined while nothing is known. */
  nextEndMs(tenant?: string): number | undefined {
    return (tenant === undefined ? this.#service : this.#paceOf(tenant)).nextEndMs;
  }

  /** Starts work of the contender as soon as it is its turn. */
  want(contender: Contender): void {
    this.#turns.add(contender);
    this.#serve();
  }

  enter(job: object, tenant: string): void {
    this.#service.started(job);
    this.#paceOf(tenant).started(job);
  }

  leave(job: object, tenant: string): void {
    this.#service.ended(job);
    this.#paceOf(tenant).ended(job);
    this.#serve();
  }

  /** Until the contender’s job at `turn` of its own queue finds a place; undefined while nothing is known. */
  waitMs(contender: Pick<Contender, 'tenant'>, turn: number): number | undefined {
    const { total, perTenant } = this.#options;
    const others = [...this.#turns].filter((each) => each !== contender);
    const ofTenant = others.filter(({ tenant }) => tenant === contender.tenant);
    return later(
      this.#service.waitMs(turn + ahead(others, turn), total),
      this.#paceOf(contender.tenant).waitMs(turn + ahead(ofTenant, turn), perTenant, this.meanMs),
    );
  }

  /** The loop sees what is added behind it, and so ends when nobody can start. */
  #serve(): void {
    for (const contender of this.#turns) {
      if (this.running >= this.#options.total) return;
      if (this.runningOf(contender.tenant) >= this.#options.perTenant) continue;
      this.#turns.delete(contender);
      if (!contender.wantsPlace) continue;
      contender.startNext();
      if (contender.wantsPlace) this.#turns.add(contender);
    }
  }

  #paceOf(tenant: string): Pace {
    const known = this.#tenants.get(tenant);
    if (known) return known;
    const pace = new Pace(this.#options.now);
    this.#tenants.set(tenant, pace);
    return pace;
  }
}

/** Jobs of others that start before the one at `turn` of its own queue when all take turns. */
function ahead(others: readonly Contender[], turn: number): number {
  return others.reduce((sum, { waiting }) => sum + Math.min(waiting, turn), 0);
}

/** The later of two estimates; unknown when one of them is. */
export function later(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : Math.max(a, b);
}
