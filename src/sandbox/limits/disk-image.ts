// A sparse ext4 image for each workspace, mounted through a loop device: exactly its bytes and inodes, whatever is done
// inside, and gone in one step. The blocks that make up an empty file system are few and always the same, so they are
// written instead of running mkfs each time.
import { existsSync } from 'node:fs';
import { lstat, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type DiskPlace, type DiskSize, kernelDiskUse, type WorkspaceDisk } from './disk.js';
import type { HostDisk } from './host-disk.js';

/** What stat(2) counts in, whatever the file system. */
const STAT_BLOCK_BYTES = 512;

export async function createImage(
  host: HostDisk,
  place: DiskPlace,
  { diskBytes, maxInodes }: DiskSize,
): Promise<WorkspaceDisk> {
  const disk = new DiskImage(host, place);
  try {
    await host.ask('create', { ...disk.names, size: diskBytes, inodes: maxInodes });
    await disk.mounted();
    return disk;
  } catch (error) {
    await disk.discard();
    throw error;
  }
}

/** Null when the workspace was made without one. */
export async function attachImage(host: HostDisk, place: DiskPlace): Promise<WorkspaceDisk | null> {
  const disk = new DiskImage(host, place);
  try {
    await lstat(disk.names.image);
  } catch (error) {
    // One that cannot be looked at is not one that is missing.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  await host.ask('attach', disk.names);
  await disk.mounted();
  return disk;
}

/** Of one that can no longer be mounted. */
export async function scrapImage(host: HostDisk, place: DiskPlace): Promise<void> {
  const disk = new DiskImage(host, place);
  if (existsSync(disk.names.image)) await disk.discard();
}

export class DiskImage implements WorkspaceDisk {
  readonly kind = 'image';
  readonly names: { readonly image: string; readonly at: string };
  /** Device number of the image's file system while it is mounted. Whatever else is found at the path is not ours. */
  #device: number | undefined;
  /** Two that took the same mount away at once would trip over each other. */
  #leaving: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly host: HostDisk,
    { directory, path }: DiskPlace,
  ) {
    this.names = { image: join(directory, 'disk.img'), at: path };
  }

  /** Called once the image is mounted: from now on its figures may be asked for. */
  async mounted(): Promise<void> {
    const { dev } = await lstat(this.names.at);
    const { dev: outside } = await lstat(dirname(this.names.at));
    if (dev === outside) throw new Error(`no file system is mounted at ${this.names.at}`);
    this.#device = dev;
  }

  /** Of a file in the image the page cache holds what the image itself, which is sparse, has no blocks for yet. The
   *  figure ends work of every session when it is large, so it is 0 unless it is certain: while the image is mounted,
   *  before and after the question, and never more than the image can hold. At a path that was just unmounted the
   *  kernel answers with the figures of the host's own disk. */
  async unwrittenBytes(): Promise<number> {
    if (!(await this.#isMounted())) return 0;
    const [{ diskBytes }, image] = await Promise.all([kernelDiskUse(this.names.at), stat(this.names.image)]);
    if (!(await this.#isMounted())) return 0;
    return Math.min(Math.max(0, diskBytes - image.blocks * STAT_BLOCK_BYTES), image.size);
  }

  async #isMounted(): Promise<boolean> {
    if (this.#device === undefined) return false;
    const { dev } = await lstat(this.names.at);
    return dev === this.#device;
  }

  detach(): Promise<void> {
    return this.#leave(() => this.host.ask('detach', { at: this.names.at }));
  }

  async discard(): Promise<boolean> {
    await this.#leave(() => this.host.ask('discard', this.names));
    return true;
  }

  #leave(step: () => Promise<void>): Promise<void> {
    this.#device = undefined;
    const left = this.#leaving.then(step);
    this.#leaving = left.catch(() => {});
    return left;
  }
}
