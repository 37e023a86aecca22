// The newest events of sessions that somebody reads right now, each made into JSON once for all its readers. A session
// nobody reads keeps nothing here, and one that is read keeps little: who falls behind goes on from the store.
import { Batch, type StoredEvent, toLine } from './line.js';

const MAX_CHARACTERS = 512 * 1024;
/** Most events of several batches that are handed out as one; no more than a reader takes in a step. */
const MAX_JOINED = 500;

/** Told that there may be something new; remembers it when told at a bad time. */
export class Wakeup {
  #pending = false;
  #resolve: (() => void) | undefined;

  readonly wake = (): void => {
    this.#pending = true;
    this.#resolve?.();
  };

  /** Forgets what has been so far: call it before looking. */
  clear(): void {
    this.#pending = false;
  }

  /** Resolves when woken since the last `clear`. */
  async wait(): Promise<void> {
    if (this.#pending) return;
    await new Promise<void>((resolve) => {
      this.#resolve = resolve;
    });
    this.#resolve = undefined;
  }
}

export class Tail {
  readonly followers = new Set<Wakeup>();
  #batches: { readonly batch: Batch; readonly characters: number }[] = [];
  #characters = 0;
  #joined: Batch | undefined;
  /** Whoever has read up to here can go on from the batches; undefined until something was published. */
  #from: number | undefined;
  #head = 0;

  /** The number of the newest event published here. */
  get head(): number {
    return this.#head;
  }

  publish(batch: Batch): void {
    if (this.#from === undefined || batch.firstSeq !== this.#head + 1) this.#restart(batch.firstSeq - 1);
    this.#head = batch.lastSeq;
    this.#joined = undefined;
    const characters = batch.lines.reduce((sum, { json }) => sum + json.length, 0);
    this.#batches.push({ batch, characters });
    this.#characters += characters;
    while (this.#characters > MAX_CHARACTERS) {
      const oldest = this.#batches.shift()!;
      this.#characters -= oldest.characters;
      this.#from = oldest.batch.lastSeq;
    }
    for (const follower of this.followers) follower.wake();
  }

  /** Something may have been stored that was not published: only the store can tell. */
  doubt(): void {
    this.#restart(undefined);
    for (const follower of this.followers) follower.wake();
  }

  /** What there is from the batch on that holds the event after `seq`; 'head' when there is none yet, 'store' when only the store can tell. */
  after(seq: number): Batch | 'head' | 'store' {
    if (this.#from === undefined || seq < this.#from) return 'store';
    if (seq >= this.#head) return 'head';
    // Most readers want the newest.
    let index = this.#batches.length - 1;
    while (index > 0 && this.#batches[index - 1]!.batch.lastSeq > seq) index -= 1;
    return this.#joinedFrom(index);
  }

  /** Many small commits may be published before the readers have their turn: each takes them in one step, and they are
   *  joined once for all who are equally far. */
  #joinedFrom(index: number): Batch {
    const [first, ...others] = this.#batches.slice(index).map(({ batch }) => batch);
    if (others.length === 0) return first!;
    if (this.#joined?.firstSeq === first!.firstSeq) return this.#joined;
    const lines = [...first!.lines];
    for (const { lines: next } of others) {
      if (lines.length + next.length > MAX_JOINED) break;
      lines.push(...next);
    }
    this.#joined = new Batch(lines);
    return this.#joined;
  }

  #restart(from: number | undefined): void {
    this.#batches = [];
    this.#characters = 0;
    this.#joined = undefined;
    this.#from = from;
  }
}

/** What was just committed: which session, and which numbers. */
export interface Published {
  readonly session: { readonly id: string; readonly sessionId: string };
  readonly firstSeq: number;
  readonly lastSeq: number;
}

export class Tails {
  readonly #tails = new Map<string, Tail>();
  readonly #watchers = new Set<(published: Published) => void>();

  /** Joins a session's readers; `leave` must follow. */
  join(session: string, follower: Wakeup): { tail: Tail; leave: () => void } {
    let tail = this.#tails.get(session);
    if (!tail) {
      tail = new Tail();
      this.#tails.set(session, tail);
    }
    const joined = tail;
    joined.followers.add(follower);
    const leave = () => {
      joined.followers.delete(follower);
      if (joined.followers.size === 0 && this.#tails.get(session) === joined) this.#tails.delete(session);
    };
    return { tail: joined, leave };
  }

  /** Calls back for every commit of every session, until the returned function is called. */
  watch(watcher: (published: Published) => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** Readers of the session look into the store before they go on. */
  doubt(session: string): void {
    this.#tails.get(session)?.doubt();
  }

  publish(session: Published['session'], events: readonly StoredEvent[]): void {
    const tail = this.#tails.get(session.id);
    tail?.publish(new Batch(events.map((event) => toLine(session.sessionId, event))));
    if (this.#watchers.size === 0) return;
    const published = { session, firstSeq: events[0]!.seq, lastSeq: events.at(-1)!.seq };
    for (const watcher of this.#watchers) watcher(published);
  }
}
