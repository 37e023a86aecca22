// Checkpoints stay when their session ends, so something has to end them: a time without use, and the room they take. Those
// of sessions that live are not touched; of these each keeps its newest.
import type { Logger } from '../observability/logger.js';
import type { CheckpointRepository, UnusedCheckpoint } from './repository.js';

const AT_ONCE = 20;

export interface CheckpointRetentionOptions {
  readonly repository: Pick<CheckpointRepository, 'unused' | 'unusedSize'>;
  readonly remove: (id: string) => Promise<void>;
  readonly limits: {
    /** How long one stays after its last use; 0 for ever. */
    readonly unusedMs: number;
    /** What all of them may take; 0 for any amount. */
    readonly bytes: number;
  };
  readonly log: Logger;
  /** Epoch milliseconds. */
  readonly now?: () => number;
}

export class CheckpointRetention {
  readonly #options: CheckpointRetentionOptions;
  #size = { count: 0, bytes: 0 };

  constructor(options: CheckpointRetentionOptions) {
    this.#options = options;
  }

  /** How many there are of sessions that are over, and what their archives take, as of the last round. */
  get size(): { readonly count: number; readonly bytes: number } {
    return this.#size;
  }

  /** Removes what is due, by age only when the clock can be believed. One that cannot be removed keeps no other, and is
   *  tried again in the next round. */
  async round(isClockSure: boolean, signal: AbortSignal): Promise<void> {
    const { repository, limits, now = Date.now } = this.#options;
    const stuck = new Set<string>();
    const next = async (before?: number) => {
      signal.throwIfAborted();
      const found = await repository.unused(AT_ONCE + stuck.size, before);
      return found.filter(({ id }) => !stuck.has(id));
    };
    const remove = async ({ id, size_bytes: sizeBytes }: UnusedCheckpoint, because: string) => {
      signal.throwIfAborted();
      try {
        await this.#options.remove(id);
        this.#options.log.info({ checkpointId: id, sizeBytes, because }, 'checkpoint removed by retention');
      } catch (error) {
        stuck.add(id);
        this.#options.log.warn({ err: error, checkpointId: id }, 'checkpoint not removed');
      }
    };

    if (isClockSure && limits.unusedMs > 0) {
      const before = now() - limits.unusedMs;
      for (let due = await next(before); due.length > 0; due = await next(before)) {
        for (const each of due) await remove(each, 'age');
      }
    }
    this.#size = await repository.unusedSize();
    while (limits.bytes > 0 && this.#size.bytes > limits.bytes) {
      const oldest = await next();
      if (oldest.length === 0) return;
      let over = this.#size.bytes - limits.bytes;
      for (const each of oldest) {
        if (over <= 0) break;
        await remove(each, 'room');
        over -= each.size_bytes;
      }
      this.#size = await repository.unusedSize();
    }
  }
}
