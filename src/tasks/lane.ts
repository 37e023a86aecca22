// The order of a session's tasks: first come, first served, so many at a time. Background jobs hold no place.

/** Something that waits its turn. `run` never rejects; it resolves when all of the job is over. */
export interface Job {
  run(): Promise<void>;
}

export class Lane {
  readonly #waiting: Job[] = [];
  /** Background jobs that came while the lane was held. */
  readonly #heldBack: Job[] = [];
  readonly #running = new Set<Job>();
  readonly #background = new Set<Job>();
  readonly #idle: (() => void)[] = [];
  #holds = 0;

  constructor(readonly concurrency: number) {}

  /** Starts the job when its turn comes. */
  add(job: Job): void {
    this.#waiting.push(job);
    this.#startNext();
  }

  /** Starts the job at once, beside the lane; or as soon as the lane is held no more. */
  addBackground(job: Job): void {
    if (this.#holds > 0) this.#heldBack.push(job);
    else this.#start(job, this.#background);
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

  get waiting(): number {
    return this.#waiting.length;
  }

  get running(): number {
    return this.#running.size + this.#background.size;
  }

  /** Background jobs, running or held back. */
  get inBackground(): number {
    return this.#background.size + this.#heldBack.length;
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
      this.#startNext();
    };
  }

  /** Resolves when nothing waits and nothing runs. */
  whenIdle(): Promise<void> {
    return new Promise((resolve) => {
      this.#idle.push(resolve);
      this.#settleIdle();
    });
  }

  #startNext(): void {
    if (this.#holds === 0) for (const job of this.#heldBack.splice(0)) this.#start(job, this.#background);
    while (this.#holds === 0 && this.#running.size < this.concurrency) {
      const job = this.#waiting.shift();
      if (!job) return;
      this.#start(job, this.#running);
    }
  }

  #start(job: Job, among: Set<Job>): void {
    among.add(job);
    void job.run().finally(() => {
      among.delete(job);
      this.#startNext();
      this.#settleIdle();
    });
  }

  #settleIdle(): void {
    if (!this.isIdle) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}
