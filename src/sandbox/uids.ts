// Host uids of sandboxes, when the service is root: one for each, so that they are strangers to each other and to us.

export interface UidRange {
  readonly first: number;
  readonly count: number;
}

export class UidPool {
  readonly #taken = new Set<number>();
  /** Where the search begins: another service on this host, with the same range, will rarely begin there too. */
  #next: number;

  /** `reserved` are uids that belong to somebody else on this host. */
  constructor(
    private readonly range: UidRange,
    private readonly reserved: ReadonlySet<number> = new Set(),
  ) {
    this.#next = Math.floor(Math.random() * range.count);
  }

  take(): number {
    const { first, count } = this.range;
    for (let tried = 0; tried < count; tried += 1) {
      const uid = first + this.#next;
      this.#next = (this.#next + 1) % count;
      if (this.#taken.has(uid) || this.reserved.has(uid)) continue;
      this.#taken.add(uid);
      return uid;
    }
    throw new Error(`all ${count} sandbox uids from ${first} on are in use`);
  }

  /** One that a workspace on disk has already. */
  claim(uid: number): void {
    this.#taken.add(uid);
  }

  /** Only when no file and no process of it is left. */
  free(uid: number): void {
    this.#taken.delete(uid);
  }
}

/** Uids within the range that the host's own users have, from the text of /etc/passwd. */
export function uidsOfUsers(passwd: string, { first, count }: UidRange): Set<number> {
  const uids = passwd
    .split('\n')
    .map((line) => line.split(':')[2])
    .filter((field) => field !== undefined && /^\d+$/.test(field))
    .map(Number);
  return new Set(uids.filter((uid) => uid >= first && uid < first + count));
}

/** True when `uid` is root in the first user namespace, from the text of /proc/self/uid_map: not that of a container. */
export function isHostRoot(uid: number, uidMap: string): boolean {
  const [inside, outside] = uidMap.trim().split(/\s+/).map(Number);
  return uid === 0 && inside === 0 && outside === 0;
}
