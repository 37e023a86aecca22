// The order of a session's tasks: first come, first served, so many at a time, each in a place that the sessions of the
// service share. Background jobs take no place and wait for none.
import { Pace } from './pace.js';
import { type Contender, later, type Places } from './places.js';

/** Something that waits its turn. `run` never rejects; it resolves when all of the job is over. */
export interface Job {
  run(): Promise<void>;
}

export interface LaneOptions {
  readonly concurrency: number;
  readonly places: Places;
  readonly tenant: string;
}

export class Lane implements Contender {
  readonly tenant: string;
  readonly #concurrency: number;
  readonly #places: Places;
  readonly #waiting: Job[] = [];
  /** Background jobs that came while the lane was held. */
  readonly #heldBack: Job[] = [];
  readonly #running = new Pace();
  readonly #background = new Pace();
  readonly #idle: (() => void)[] = [];
  #holds = 0;

  constructor({ concurrency, places, tenant }: LaneOptions) {
    this.#concurrency = concurrency;
    this.#places = places;
    this.tenant = tenant;
  }

  /** Starts the job when its turn comes. */
  add(job: Job): void {
    this.#waiting.push(job);
    this.#goOn();
  }

  /** Starts the job at once, beside the lane; or as soon as the lane is held no more. */
  addBackground(job: Job): void {
    if (this.#holds > 0) this.#heldBack.push(job);
    else this.#startBackground(job);
  }

  /** Takes a waiting job out; false when it is not waiting (any more). */
  remove(job: Job): boolean {
    for (const jobs of [this.#waiting, this.#heldBack]) {
      const index = jobs.indexOf(job);
      if (index < 0) continue;
      jobs.splice(index, 1);
      this.#settleIdle();
      return true;
    }
    return false;
  }

  /** 1 for the job that starts next; 0 for one that does not wait. */
  position(job: Job): number {
    return this.#waiting.indexOf(job) + 1;
  }

  /** The job at this position, if so many wait. */
  at(position: number): Job | undefined {
    return this.#waiting[position - 1];
  }

  /** Until a job at this position starts, by how long tasks took lately; undefined while that is not known. */
  waitMs(position: number): number | undefined {
    const { meanMs = this.#places.meanMs } = this.#running;
    return later(
      this.#running.waitMs(position, this.#concurrency, meanMs),
      this.#places.waitMs(this, position),
    );
  }

  /** Until one of the background jobs ends, in the same way. */
  get backgroundWaitMs(): number | undefined {
    return this.#background.nextEndMs;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  get running(): number {
    return this.#running.count + this.#background.count;
  }

  /** Background jobs, running or held back. */
  get inBackground(): number {
    return this.#background.count + this.#heldBack.length;
  }

  get isIdle(): boolean {
    return this.#waiting.length + this.#heldBack.length + this.running === 0;
  }

  /** Starts nothing until the returned function is called. Holds add up. */
  hold(): () => void {
    this.#holds += 1;
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      this.#holds -= 1;
      this.#goOn();
    };
  }

  /** Resolves when nothing waits and nothing runs. */
  whenIdle(): Promise<void> {
    return new Promise((resolve) => {
      this.#idle.push(resolve);
      this.#settleIdle();
    });
  }

  get wantsPlace(): boolean {
    return this.#holds === 0 && this.#running.count < this.#concurrency && this.#waiting.length > 0;
  }

  startNext(): void {
    const job = this.#waiting.shift()!;
    this.#places.enter(job, this.tenant);
    this.#start(job, this.#running, () => this.#places.leave(job, this.tenant));
  }

  #goOn(): void {
    if (this.#holds === 0) for (const job of this.#heldBack.splice(0)) this.#startBackground(job);
    if (this.wantsPlace) this.#places.want(this);
  }

  #startBackground(job: Job): void {
    this.#start(job, this.#background, () => {});
  }

  #start(job: Job, among: Pace, afterwards: () => void): void {
    among.started(job);
    void job.run().finally(() => {
      among.ended(job);
      // Before the place is given away: whoever gets it stands behind this lane for the next one.
      this.#goOn();
      afterwards();
      this.#settleIdle();
    });
  }

  #settleIdle(): void {
    if (!this.isIdle) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}
