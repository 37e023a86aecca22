// A reader is a cursor over the journal: it takes pages from the store until it has caught up, then what is committed
// as it comes. Between two steps it holds nothing, so a slow one costs no memory and loses nothing.
import type { Store } from '../store/store.js';
import type { Journal, SessionKey } from './journal.js';
import { Batch, type Line } from './line.js';
import { type Extent, type Page, Pages, type View } from './pages.js';
import type { Event } from './schema.js';
import { type Published, Wakeup } from './tail.js';

export type ReaderStep =
  | {
      readonly kind: 'events';
      /** The same object for all who read the same events live. */
      readonly lines: readonly Line[];
      readonly json: readonly string[];
      readonly events: readonly Event[];
    }
  | { readonly kind: 'head'; readonly seq: number }
  | { readonly kind: 'gap'; readonly from: number; readonly to: number };

export interface ReadOptions {
  readonly session: SessionKey;
  /** Only the events of this task, under the numbers they have in the session. */
  readonly taskId?: string | undefined;
  /** The last event the caller has; 0 for all. */
  readonly after: number;
  /** Ends it at once. */
  readonly signal: AbortSignal;
  /** False: end when all that is stored was delivered. */
  readonly follow: boolean;
  /** Ends it as if it did not follow: when all that is stored by then was delivered. */
  readonly lastCall?: AbortSignal | undefined;
  /** Most events of one step. */
  readonly limit?: number;
}

const DEFAULT_LIMIT = 500;

export class Reader {
  readonly #journal: Journal;
  readonly #pages: Pages;

  constructor({ store, journal }: { store: Pick<Store, 'query'>; journal: Journal }) {
    this.#journal = journal;
    this.#pages = new Pages(store);
  }

  /** Calls back for every commit of every session, until the returned function is called. */
  watch(watcher: (published: Published) => void): () => void {
    return this.#journal.tails.watch(watcher);
  }

  /** The session's newest event, or the task's last when it has ended; 0 when the view is no longer known. */
  async head(view: View): Promise<number> {
    const extent = await this.#pages.extent(view);
    return extent?.last ?? extent?.head ?? 0;
  }

  /** True when nothing will ever follow `after`. */
  async isComplete(view: View, after: number): Promise<boolean> {
    const extent = await this.#pages.extent(view);
    return !extent || isComplete(extent, after);
  }

  /** `head` comes once, when it has caught up; `gap` where retention has removed events. Ends by itself when the
   *  session is terminated, or the task ended, and everything was delivered. */
  async *read(options: ReadOptions): AsyncGenerator<ReaderStep, void, undefined> {
    const { session, taskId, signal, lastCall, limit = DEFAULT_LIMIT } = options;
    const view: View = { session, taskId };
    const wakeup = new Wakeup();
    const { tail, leave } = this.#journal.tails.join(session.id, wakeup);
    signal.addEventListener('abort', wakeup.wake);
    lastCall?.addEventListener('abort', wakeup.wake);
    try {
      const known = await this.#pages.extent(view);
      if (!known) return;
      // A number that was never given (of a store that was put back, say) must not swallow what will get it.
      let cursor = Math.min(options.after, known.head);
      let atHead = false;
      // Asked in this order, so that an empty page means: nothing up to the extent's head; and what is missing from the
      // page because retention removed it meanwhile is told.
      const look = () =>
        Promise.all([
          this.#pages.extent(view),
          this.#pages
            .read(view, known, cursor, limit)
            .then(async (page) => ({ page, trimmed: await this.#pages.trimmed(view) })),
        ]);
      let ahead: ReturnType<typeof look> | undefined;
      while (!signal.aborted) {
        // Cleared before looking: what is committed from here on wakes us again.
        wakeup.clear();
        const mayWait = options.follow && !lastCall?.aborted;
        const fresh = tail.after(cursor);
        if (fresh instanceof Batch) {
          ahead = undefined;
          const wanted = fresh.part({ after: cursor, taskId, limit });
          cursor = wanted.lines.length === limit ? wanted.lastSeq : fresh.lastSeq;
          if (wanted.lines.length > 0) yield eventsOf(wanted);
          if (ends(wanted, taskId)) return;
        } else if (fresh === 'head' && mayWait) {
          if (!atHead) yield { kind: 'head', seq: tail.head };
          atHead = true;
          if (isComplete(known, cursor)) return;
          await wakeup.wait();
        } else {
          // What was empty a moment ago is looked at again, now that no wake-up can be missed.
          const early = await ahead;
          ahead = undefined;
          const [extent, { page, trimmed }] = early?.[1].page ? early : await look();
          if (!extent || signal.aborted) return;
          const gap = gapBefore({ view, page, extent, trimmed, cursor });
          if (gap) yield gap;
          if (page) {
            cursor = page.lastSeq;
            if (page.length === limit) {
              // The store reads the next page while this one is made into lines and sent.
              ahead = look();
              ahead.catch(() => {});
            }
            const batch = page.batch();
            yield eventsOf(batch);
            if (ends(batch, taskId)) return;
          } else {
            cursor = Math.max(cursor, extent.head);
            if (!atHead) yield { kind: 'head', seq: extent.head };
            atHead = true;
            if (!mayWait || isComplete(extent, cursor)) return;
            await wakeup.wait();
          }
        }
      }
    } finally {
      signal.removeEventListener('abort', wakeup.wake);
      lastCall?.removeEventListener('abort', wakeup.wake);
      leave();
    }
  }
}

/** Made when asked for: who sends the JSON never parses it. */
function eventsOf(batch: Batch): ReaderStep {
  return {
    kind: 'events',
    lines: batch.lines,
    get json() {
      return batch.json;
    },
    get events() {
      return batch.events;
    },
  };
}

function ends(batch: Batch, taskId: string | undefined): boolean {
  return batch.lines.at(-1)?.ends === (taskId === undefined ? 'session' : 'task');
}

function isComplete({ last }: Extent, cursor: number): boolean {
  return last !== undefined && cursor >= last;
}

/** The numbers between the cursor and the page that retention has removed: a session's view has no other holes. */
function gapBefore({ view, page, extent, trimmed, cursor }: GapQuestion): ReaderStep | undefined {
  const from = Math.max(cursor + 1, extent.first);
  const removed = Math.min(trimmed, extent.last ?? extent.head);
  const before = page && page.firstSeq - 1;
  const to = view.taskId === undefined ? (before ?? removed) : Math.min(removed, before ?? removed);
  return from <= to ? { kind: 'gap', from, to } : undefined;
}

interface GapQuestion {
  readonly view: View;
  readonly page: Page | undefined;
  readonly extent: Extent;
  readonly trimmed: number;
  readonly cursor: number;
}
