interface Step {
  readonly name: string;
  readonly undo: () => unknown;
}

/** What has to be undone, run backwards, once. Every step is tried, whatever the others did. */
export class Undo {
  readonly #steps: Step[] = [];
  #running: Promise<void> | undefined;

  push(name: string, undo: () => unknown): void {
    this.#steps.push({ name, undo });
  }

  /** May be called again and gives the same promise; rejects with what failed, joined. */
  run(): Promise<void> {
    this.#running ??= this.#run();
    return this.#running;
  }

  async #run(): Promise<void> {
    const failures: Error[] = [];
    for (let step = this.#steps.pop(); step; step = this.#steps.pop()) {
      try {
        await step.undo();
      } catch (cause) {
        failures.push(new Error(`could not undo: ${step.name}`, { cause }));
      }
    }
    if (failures.length === 1) throw failures[0];
    if (failures.length > 1) throw new AggregateError(failures, failures.map((er) => er.message).join('; '));
  }
}
