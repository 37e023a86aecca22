// How much room the disk of the service has. Below a floor nobody writes more, so that the store can still say how
// everything ended, images of workspaces are not cut short, and what is there can be read and removed.
import { statfs } from 'node:fs/promises';
import { DiskAlmostFull } from '../errors.js';
import type { Logger } from './logger.js';

const LOOK_EVERY_MS = 500;

export interface FreeSpaceOptions {
  /** Where the service writes; they may lie on one disk. */
  readonly directories: readonly string[];
  /** 0: no floor. */
  readonly floorBytes: number;
  /** What has been promised to workspaces and is not written: the disk does not know of it yet. Default: nothing. */
  readonly unwrittenBytes?: () => Promise<number>;
  readonly log: Logger;
  /** Called at every look that finds too little, so that what began meanwhile is met, too. */
  readonly whileLow: (error: DiskAlmostFull) => void;
}

export class FreeSpace {
  readonly #options: FreeSpaceOptions;
  #freeBytes = Number.POSITIVE_INFINITY;
  #isLow = false;
  #timer: NodeJS.Timeout | undefined;
  #isLooking = false;
  #looking: Promise<void> = Promise.resolve();

  constructor(options: FreeSpaceOptions) {
    this.#options = options;
  }

  /** On the fullest of the disks, at the last look, without what is promised. */
  get freeBytes(): number {
    return this.#freeBytes;
  }

  /** Looks, and from then on again and again. */
  async start(): Promise<void> {
    await this.#look();
    this.#timer = setInterval(() => {
      // A disk may take longer to answer than the time between two looks.
      if (!this.#isLooking) this.#looking = this.#look();
    }, LOOK_EVERY_MS).unref();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  /** Throws DiskAlmostFull while there is less than the floor. */
  require(): void {
    if (this.#isLow) throw this.#error();
  }

  async #look(): Promise<void> {
    const { directories, floorBytes, unwrittenBytes, log, whileLow } = this.#options;
    this.#isLooking = true;
    try {
      const unwritten = (await unwrittenBytes?.()) ?? 0;
      const disks = await Promise.all(directories.map((directory) => statfs(directory)));
      const free = Math.min(...disks.map(({ bavail, bsize }) => bavail * bsize));
      this.#freeBytes = Math.max(0, free - unwritten);
    } catch (error) {
      log.warn({ err: error }, 'free space not known');
    } finally {
      this.#isLooking = false;
    }
    const isLow = this.#freeBytes < floorBytes;
    if (isLow !== this.#isLow) {
      const facts = { freeBytes: this.#freeBytes, floorBytes };
      if (isLow) log.error(facts, 'the disk is almost full: writers are stopped');
      else log.info(facts, 'the disk has room again');
    }
    this.#isLow = isLow;
    if (isLow) whileLow(this.#error());
  }

  #error(): DiskAlmostFull {
    return new DiskAlmostFull(this.#freeBytes, this.#options.floorBytes);
  }
}
