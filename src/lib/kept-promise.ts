// A promise that is made once, for all who ask. One that rejects is forgotten, so that a moment without descriptors, memory
// or disk is not remembered for ever: who asks next makes it anew.

export class KeptPromise<T> {
  readonly #make: () => Promise<T>;
  #known: Promise<T> | undefined;

  constructor(make: () => Promise<T>) {
    this.#make = make;
  }

  /** What was made, or is being made; undefined when nobody has asked, or it failed. */
  get known(): Promise<T> | undefined {
    return this.#known;
  }

  get(): Promise<T> {
    if (this.#known) return this.#known;
    const made = this.#make();
    this.#known = made;
    made.catch(() => {
      if (this.#known === made) this.#known = undefined;
    });
    return made;
  }

  /** The next who asks makes it anew. */
  forget(): void {
    this.#known = undefined;
  }
}
