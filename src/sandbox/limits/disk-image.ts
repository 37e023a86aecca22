// A sparse ext4 image for each workspace, mounted through a loop device: exactly its bytes and inodes, whatever is done
// inside, and gone in one step. The blocks that make up an empty file system are few and always the same, so they are
// written instead of running mkfs each time.
import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
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
    return disk;
  } catch (error) {
    await disk.discard();
    throw error;
  }
}

/** Null when the workspace was made without one. */
export async function attachImage(host: HostDisk, place: DiskPlace): Promise<WorkspaceDisk | null> {
  const disk = new DiskImage(host, place);
  if (!existsSync(disk.names.image)) return null;
  await host.ask('attach', disk.names);
  return disk;
}

/** Of one that can no longer be mounted. */
export async function scrapImage(host: HostDisk, place: DiskPlace): Promise<void> {
  const disk = new DiskImage(host, place);
  if (existsSync(disk.names.image)) await disk.discard();
}

class DiskImage implements WorkspaceDisk {
  readonly kind = 'image';
  readonly names: { readonly image: string; readonly at: string };
  /** Two that took the same mount away at once would trip over each other. */
  #leaving: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly host: HostDisk,
    { directory, path }: DiskPlace,
  ) {
    this.names = { image: join(directory, 'disk.img'), at: path };
  }

  /** Of a file in the image the page cache holds what the image itself, which is sparse, has no blocks for yet. */
  async unwrittenBytes(): Promise<number> {
    const [{ diskBytes }, { blocks }] = await Promise.all([
      kernelDiskUse(this.names.at),
      stat(this.names.image),
    ]);
    return Math.max(0, diskBytes - blocks * STAT_BLOCK_BYTES);
  }

  detach(): Promise<void> {
    return this.#leave(() => this.host.ask('detach', { at: this.names.at }));
  }

  async discard(): Promise<boolean> {
    await this.#leave(() => this.host.ask('discard', this.names));
    return true;
  }

  #leave(step: () => Promise<void>): Promise<void> {
    const left = this.#leaving.then(step);
    this.#leaving = left.catch(() => {});
    return left;
  }
}
