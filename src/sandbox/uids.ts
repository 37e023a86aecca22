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

/** The texts of these files below /etc; empty for one that is not there. */
export interface HostAccounts {
  readonly passwd: string;
  readonly group: string;
  readonly subuid: string;
  readonly subgid: string;
}

/** Ids within the range that somebody on this host has: its users and groups, and the subordinate ids that a user may
 *  take for containers, as who they then are they could read a workspace and signal what runs there. A sandbox has the
 *  same number as uid and as gid, so all four files count. Throws when no id of the range is left. */
export function idsOfOthers(accounts: HostAccounts, { first, count }: UidRange): Set<number> {
  const taken = new Set<number>();
  let highest = 0;
  const take = (from: number, length: number) => {
    highest = Math.max(highest, from + length);
    for (let id = Math.max(from, first); id < Math.min(from + length, first + count); id += 1) taken.add(id);
  };
  for (const text of [accounts.passwd, accounts.group]) {
    for (const [, , id] of fieldsOf(text)) if (isNumber(id)) take(Number(id), 1);
  }
  for (const text of [accounts.subuid, accounts.subgid]) {
    for (const [, from, length] of fieldsOf(text)) {
      if (isNumber(from) && isNumber(length)) take(Number(from), Number(length));
    }
  }
  if (taken.size === count) {
    throw new Error(
      `SANDBOX_UID_FIRST=${first}, SANDBOX_UID_COUNT=${count}: all ids of this range belong to users of this host ` +
        `(/etc/passwd, /etc/group, /etc/subuid, /etc/subgid); set SANDBOX_UID_FIRST to a free range, e.g. ${highest}`,
    );
  }
  return taken;
}

const fieldsOf = (text: string) => text.split('\n').map((line) => line.split(':'));
const isNumber = (field: string | undefined) => field !== undefined && /^\d{1,10}$/.test(field);

/** True when `uid` is root in the first user namespace, from the text of /proc/self/uid_map: not that of a container. */
export function isHostRoot(uid: number, uidMap: string): boolean {
  const [inside, outside] = uidMap.trim().split(/\s+/).map(Number);
  return uid === 0 && inside === 0 && outside === 0;
}
