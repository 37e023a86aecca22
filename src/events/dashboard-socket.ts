// One socket for many sessions. Each has a cursor; a commit marks its session as having news, and one loop brings the
// cursors forward in turn, so that however many sessions are watched only one page is held at a time.
import { PublicError, TooManySubscriptions, ValidationFailed } from '../errors.js';
import type { Principal } from '../lib/principal.js';
import { type DashboardMessage, handleMessages } from './client-messages.js';
import { CLOSE } from './connection.js';
import type { SessionKey } from './journal.js';
import type { Reader } from './reader.js';
import { closeBecause, refuse, type SocketContext } from './socket.js';
import { type Published, Wakeup } from './tail.js';

export interface DashboardOptions extends SocketContext {
  readonly reader: Reader;
  findSession(principal: Principal, sessionId: string): Promise<SessionKey>;
}

interface Cursor {
  readonly session: SessionKey;
  after: number;
  /** Asked for by its id, not only seen through `all`. */
  readonly isChosen: boolean;
  isAllowed: boolean;
  headTold: boolean;
  /** The newest event that a commit told of; the store may show us later ones before we are told. */
  published: number;
  hasEnded: boolean;
}

function newCursor(start: Pick<Cursor, 'session' | 'after' | 'isChosen'>): Cursor {
  return { ...start, isAllowed: start.isChosen, headTold: !start.isChosen, published: 0, hasEnded: false };
}

const MAX_CHOSEN = 1000;
/** After so many pages of one session it is the next one's turn. */
const PAGES_IN_TURN = 4;

/** Resolves when the socket has been told its end. */
export function serveDashboard(options: DashboardOptions): Promise<void> {
  return new Dashboard(options).serve();
}

class Dashboard {
  readonly #options: DashboardOptions;
  readonly #cursors = new Map<string, Cursor>();
  readonly #news = new Set<string>();
  /** Sessions that the caller may not see, so that not every commit asks again. */
  readonly #foreign = new Set<string>();
  #seesAll = false;
  readonly #wakeup = new Wakeup();

  constructor(options: DashboardOptions) {
    this.#options = options;
  }

  async serve(): Promise<void> {
    const { socket, connection, reader, lastCall } = this.#options;
    handleMessages<DashboardMessage>(socket, {
      checks: this.#options.checks,
      handle: (message) => this.#obey(message),
      refuse: (error) => void refuse(this.#options, error),
      giveUp: () => connection.refuse(CLOSE.notAllowed),
    });
    const stopWatching = reader.watch((published) => this.#notice(published));
    connection.gone.addEventListener('abort', this.#wakeup.wake);
    lastCall.addEventListener('abort', this.#wakeup.wake);
    try {
      while (!connection.gone.aborted) {
        this.#wakeup.clear();
        const isLast = lastCall.aborted;
        for (const id of this.#news) {
          if (connection.gone.aborted) break;
          await this.#bringForward(id);
        }
        if (isLast) break;
        await this.#wakeup.wait();
      }
      connection.close(CLOSE.stopping);
    } catch (error) {
      closeBecause(this.#options, error);
    } finally {
      stopWatching();
      lastCall.removeEventListener('abort', this.#wakeup.wake);
    }
  }

  async #obey(message: DashboardMessage): Promise<void> {
    const { sessionId, all } = message;
    if ((sessionId === undefined) === (all === undefined)) {
      throw new ValidationFailed([{ where: '/', rule: 'must have either sessionId or all' }]);
    }
    if (sessionId === undefined) {
      this.#seesAll = message.op === 'subscribe';
      if (!this.#seesAll) this.#forget(({ isChosen }) => !isChosen);
      return;
    }
    if (message.op === 'unsubscribe') {
      this.#forget(({ session }) => session.sessionId === sessionId);
      return;
    }
    const { findSession, principal } = this.#options;
    const session = await findSession(principal, sessionId);
    const chosen = [...this.#cursors.values()].filter(({ isChosen }) => isChosen);
    if (chosen.length >= MAX_CHOSEN) throw new TooManySubscriptions(MAX_CHOSEN);
    this.#cursors.set(session.id, newCursor({ session, after: message.after ?? 0, isChosen: true }));
    this.#mark(session.id);
  }

  #forget(isMeant: (cursor: Cursor) => boolean): void {
    for (const [id, cursor] of this.#cursors) if (isMeant(cursor)) this.#cursors.delete(id);
  }

  #notice({ session, firstSeq, lastSeq }: Published): void {
    let cursor = this.#cursors.get(session.id);
    if (!cursor) {
      if (!this.#seesAll || this.#foreign.has(session.id)) return;
      cursor = newCursor({ session, after: firstSeq - 1, isChosen: false });
      this.#cursors.set(session.id, cursor);
    }
    cursor.published = lastSeq;
    this.#mark(session.id);
  }

  #mark(id: string): void {
    this.#news.add(id);
    this.#wakeup.wake();
  }

  async #bringForward(id: string): Promise<void> {
    this.#news.delete(id);
    const cursor = this.#cursors.get(id);
    if (cursor?.hasEnded) this.#cursors.delete(id);
    if (!cursor || cursor.hasEnded || !(await this.#maySee(cursor))) return;
    const { reader, connection } = this.#options;
    const { session, after } = cursor;
    const { sessionId } = session;
    let pages = 0;
    for await (const step of reader.read({ session, after, signal: connection.gone, follow: false })) {
      // Unsubscribed, or subscribed anew from elsewhere, while we were sending.
      if (this.#cursors.get(id) !== cursor) return;
      if (step.kind === 'events') {
        await connection.sendLines(step.lines);
        const newest = step.lines.at(-1)!;
        cursor.after = newest.seq;
        cursor.hasEnded = newest.ends === 'session';
        if (cursor.hasEnded && cursor.published >= newest.seq) this.#cursors.delete(id);
      } else if (step.kind === 'gap') {
        await connection.send({ type: 'stream.gap', sessionId, from: step.from, to: step.to });
        cursor.after = step.to;
      } else if (!cursor.headTold) {
        cursor.headTold = true;
        await connection.send({ type: 'stream.head', sessionId, seq: step.seq });
      }
      pages += 1;
      if (pages === PAGES_IN_TURN && step.kind !== 'head') return this.#mark(id);
    }
  }

  /** A commit names only the session; whose it is decides the same question as everywhere. */
  async #maySee(cursor: Cursor): Promise<boolean> {
    if (cursor.isAllowed) return true;
    const { session } = cursor;
    const { findSession, principal } = this.#options;
    try {
      cursor.isAllowed = (await findSession(principal, session.sessionId)).id === session.id;
      if (cursor.isAllowed) return true;
    } catch (error) {
      if (!(error instanceof PublicError) || error.status !== 404) throw error;
    }
    this.#cursors.delete(session.id);
    if (this.#foreign.size >= 10_000) this.#foreign.clear();
    this.#foreign.add(session.id);
    return false;
  }
}
