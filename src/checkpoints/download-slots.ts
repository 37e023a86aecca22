// Semaphore for workspace downloads: each takes two processes, a descriptor and the compression threads that all requests
// share, so their number is bounded for a session and for the service.
import { TooManyDownloads, TooManyDownloadsInAll } from '../errors.js';

const PER_SESSION = 2;

export class DownloadSlots {
  readonly #ofSession = new Map<string, number>();
  #taken = 0;

  /** `limit`: downloads of all sessions together. */
  constructor(private readonly limit: number) {}

  /** Downloads under way. */
  get taken(): number {
    return this.#taken;
  }

  /** Takes a slot and returns the function that gives it back, which may be called twice. `id` is the session's internal
   *  id, `sessionId` its public one. Throws TooManyDownloads (429) or TooManyDownloadsInAll (503). */
  take(id: string, sessionId: string): () => void {
    const own = this.#ofSession.get(id) ?? 0;
    if (own >= PER_SESSION) throw new TooManyDownloads(sessionId, PER_SESSION);
    if (this.#taken >= this.limit) throw new TooManyDownloadsInAll(this.limit);
    this.#ofSession.set(id, own + 1);
    this.#taken += 1;
    let isReleased = false;
    return () => {
      if (isReleased) return;
      isReleased = true;
      this.#taken -= 1;
      const left = this.#ofSession.get(id)! - 1;
      if (left === 0) this.#ofSession.delete(id);
      else this.#ofSession.set(id, left);
    };
  }
}
