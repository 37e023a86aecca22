// How much room the disk of the service has. Below a floor nobody writes more, so that the store can still say how
// everything ended, images of workspaces are not cut short, and what is there can be read and removed.
import { statfs } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { DiskAlmostFull } from '../errors.js';
import type { Logger } from './logger.js';

const LOOK_EVERY_MS = 500;
/** A reading below the floor is checked by a second one after this long. */
const LOOK_AGAIN_AFTER_MS = 50;

export interface FreeSpaceOptions {
  /** Where the service writes; they may lie on one disk. */
  readonly directories: readonly string[];
  /** 0: no floor. */
  readonly floorBytes: number;
  /** What has been promised to workspaces and is not written: the disk does not know of it yet. Default: nothing. */
  readonly unwrittenBytes?: () => Promise<number>;
  /** Bytes that statfs(2) says are free in a directory. Default: asks the kernel. */
  readonly availableBytes?: (directory: string) => Promise<number>;
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

  /** Writers are stopped only when two readings in a row are below the floor, since a single one may be wrong: it ends
   *  the work of everybody. One that fails says nothing and leaves things as they were. */
  async #look(): Promise<void> {
    const { floorBytes, log, whileLow } = this.#options;
    this.#isLooking = true;
    try {
      let freeBytes = await this.#readFreeBytes();
      if (freeBytes < floorBytes && !this.#isLow) {
        await sleep(LOOK_AGAIN_AFTER_MS);
        freeBytes = await this.#readFreeBytes();
      }
      this.#freeBytes = freeBytes;
    } catch (error) {
      log.warn({ err: error }, 'free space not known');
      return;
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

  async #readFreeBytes(): Promise<number> {
    const { directories, unwrittenBytes, availableBytes = statfsAvailable } = this.#options;
    const unwritten = (await unwrittenBytes?.()) ?? 0;
    const free = await Promise.all(directories.map(availableBytes));
    return Math.max(0, Math.min(...free) - unwritten);
  }

  #error(): DiskAlmostFull {
    return new DiskAlmostFull(this.#freeBytes, this.#options.floorBytes);
  }
}

async function statfsAvailable(directory: string): Promise<number> {
  const { bavail, bsize } = await statfs(directory);
  return bavail * bsize;
}
