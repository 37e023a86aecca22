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

  /** The next `take` would fail. */
  get isUsedUp(): boolean {
    return this.#find() === undefined;
  }

  take(): number {
    const uid = this.#find();
    const { first, count } = this.range;
    if (uid === undefined) throw new Error(`all ${count} sandbox uids from ${first} on are in use`);
    this.#next = (uid - first + 1) % count;
    this.#taken.add(uid);
    return uid;
  }

  /** One that a workspace on disk has already. */
  claim(uid: number): void {
    this.#taken.add(uid);
  }

  /** Only when no file and no process of it is left. */
  free(uid: number): void {
    this.#taken.delete(uid);
  }

  #find(): number | undefined {
    const { first, count } = this.range;
    for (let tried = 0; tried < count; tried += 1) {
      const uid = first + ((this.#next + tried) % count);
      if (!this.#taken.has(uid) && !this.reserved.has(uid)) return uid;
    }
    return undefined;
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
