// The write-ahead log starts over when all of it is in the database file and nobody reads it. Where somebody always does, one
// read begun before another has ended, that moment never comes by itself, and the log would grow with every commit. So once
// it is over its limit the writer waits for it: for the reads that are under way, while those that begin see the newest.
import { statSync } from 'node:fs';
import { BUSY_TIMEOUT_MS, type Database } from './database.js';

/** Commits wait as long. Reads of ours take milliseconds; a copy that an operator makes may take minutes. */
const MAX_WAIT_MS = 250;
/** Where it could not be emptied, it is tried again when it has grown by this part of the limit. */
const TRY_AGAIN_AFTER = 0.25;

export class WalLimit {
  readonly #db: Database;
  readonly #file: string;
  readonly #maxBytes: number;
  #tryAt: number;

  /** Keeps the log of this database near so many bytes. */
  constructor(db: Database, path: string, maxBytes: number) {
    this.#db = db;
    this.#file = `${path}-wal`;
    this.#maxBytes = maxBytes;
    this.#tryAt = maxBytes;
    db.exec(`pragma journal_size_limit = ${maxBytes}`);
  }

  /** Empties the log where it is too large; to be called when nobody waits for a commit. */
  keep(): void {
    const bytes = this.#bytes();
    if (bytes <= this.#tryAt) {
      if (bytes <= this.#maxBytes) this.#tryAt = this.#maxBytes;
      return;
    }
    try {
      this.#db.exec(`pragma busy_timeout = ${MAX_WAIT_MS}`);
      this.#db.exec('pragma wal_checkpoint(truncate)');
    } catch {
      // What is wrong with the disk, the next commit tells those who wait for it.
    } finally {
      this.#db.exec(`pragma busy_timeout = ${BUSY_TIMEOUT_MS}`);
    }
    const left = this.#bytes();
    this.#tryAt = left > this.#maxBytes ? left + this.#maxBytes * TRY_AGAIN_AFTER : this.#maxBytes;
  }

  #bytes(): number {
    return statSync(this.#file, { throwIfNoEntry: false })?.size ?? 0;
  }
}
