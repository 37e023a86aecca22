// A queue in which owners take turns, and within an owner its groups: however much one of them asks for, the others wait
// for one of it at a time. Within a group it is first come, first served.

export class FairQueue<T> {
  /** In the order of their next turns. */
  readonly #owners = new Map<string, Map<string, T[]>>();

  add(item: T, owner: string, group: string): void {
    const groups = this.#owners.get(owner) ?? new Map<string, T[]>();
    this.#owners.set(owner, groups);
    const items = groups.get(group);
    if (items) items.push(item);
    else groups.set(group, [item]);
  }

  /** The one whose turn it is; undefined when there is none. */
  take(): T | undefined {
    return takeNext(this.#owners);
  }

  /** False when it is not there (any more). */
  remove(item: T): boolean {
    for (const [owner, groups] of this.#owners) {
      for (const [group, items] of groups) {
        const at = items.indexOf(item);
        if (at < 0) continue;
        items.splice(at, 1);
        if (items.length === 0) groups.delete(group);
        if (groups.size === 0) this.#owners.delete(owner);
        return true;
      }
    }
    return false;
  }

  /** All of them in the order in which they would be taken now. */
  inOrder(): T[] {
    const copy = new Map(
      [...this.#owners].map(([owner, groups]) => [
        owner,
        new Map([...groups].map(([group, items]) => [group, [...items]])),
      ]),
    );
    const order: T[] = [];
    for (let item = takeNext(copy); item !== undefined; item = takeNext(copy)) order.push(item);
    return order;
  }
}

function takeNext<T>(owners: Map<string, Map<string, T[]>>): T | undefined {
  for (const [owner, groups] of owners) {
    for (const [group, items] of groups) {
      const item = items.shift();
      // Whoever had a turn comes after all others.
      groups.delete(group);
      if (items.length > 0) groups.set(group, items);
      owners.delete(owner);
      if (groups.size > 0) owners.set(owner, groups);
      return item;
    }
  }
  return undefined;
}
