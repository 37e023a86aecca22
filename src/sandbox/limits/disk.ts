// What holds a workspace to its size: the kernel, by a project quota or an ext4 image of its own, or else a watcher
// that looks at the tree again and again.
import { readFile, statfs } from 'node:fs/promises';

export const DISK_KINDS = ['quota', 'image', 'watcher'] as const;
export type DiskKind = (typeof DISK_KINDS)[number];

/** Where a workspace is on the host. */
export interface DiskPlace {
  /** Ours, with nothing of a session's in it but `path`. */
  readonly directory: string;
  readonly path: string;
  /** Owns what is in it; null when the service is an ordinary user. */
  readonly uid: number | null;
}

export interface DiskSize {
  readonly diskBytes: number;
  readonly maxInodes: number;
}

/** Makes workspaces that are held to their size, and finds them again after a restart. */
export interface DiskLimiter {
  /** How new ones are held. */
  readonly kind: DiskKind;
  /** What keeps each stronger way from being used. */
  readonly against: Readonly<Record<string, string>>;
  /** For a new, empty workspace. */
  create(place: DiskPlace, size: DiskSize): Promise<WorkspaceDisk>;
  attach(place: DiskPlace, size: DiskSize): Promise<WorkspaceDisk>;
  /** Takes away what cannot be attached any more. */
  scrap(place: DiskPlace): Promise<void>;
  close(): Promise<void>;
}

export interface WorkspaceDisk {
  readonly kind: DiskKind;
  /** What it holds and the host's disk does not know of yet. */
  unwrittenBytes(): Promise<number>;
  /** Undoes what is not to outlive the service; the workspace stays. */
  detach(): Promise<void>;
  /** Before the workspace goes. True when all that was in it is gone with this. */
  discard(): Promise<boolean>;
}

/** No help from the kernel. */
export const WATCHED: WorkspaceDisk = {
  kind: 'watcher',
  unwrittenBytes: async () => 0,
  detach: async () => {},
  discard: async () => false,
};

export interface DiskUse {
  readonly diskBytes: number;
  /** Files, folders and whatever else has a name. */
  readonly inodes: number;
}

/** What the file system says of a workspace that it holds to a size, and what it would still take. */
export async function kernelDiskUse(
  path: string,
): Promise<DiskUse & { readonly freeBytes: number; readonly freeInodes: number }> {
  const { bsize, blocks, bfree, bavail, files, ffree } = await statfs(path);
  return {
    diskBytes: (blocks - bfree) * bsize,
    inodes: files - ffree,
    freeBytes: bavail * bsize,
    freeInodes: ffree,
  };
}

/** Less than this waits on any host all the time. */
const LITTLE_BYTES = 16 * 1024 ** 2;

/** Bytes that these workspaces hold and that the host's disk has no blocks for yet. The disks are asked only when much
 *  waits in the page cache of the host (`Dirty` and `Writeback` of /proc/meminfo), and together they cannot hold more
 *  than that, whatever one of them says. `waitingBytes` reads it; tests give one of their own. */
export async function unwrittenBytes(
  disks: readonly Pick<WorkspaceDisk, 'unwrittenBytes'>[],
  waitingBytes: () => Promise<number> = pageCacheWaiting,
): Promise<number> {
  if (disks.length === 0) return 0;
  const waiting = await waitingBytes();
  if (waiting < LITTLE_BYTES) return waiting;
  // One that is being removed has nothing to say.
  const each = await Promise.all(disks.map((disk) => disk.unwrittenBytes().catch(() => 0)));
  return Math.min(
    each.reduce((sum, bytes) => sum + bytes, 0),
    waiting,
  );
}

async function pageCacheWaiting(): Promise<number> {
  const text = await readFile('/proc/meminfo', 'utf8');
  return [...text.matchAll(/^(?:Dirty|Writeback):\s+(\d+) kB$/gm)].reduce(
    (sum, [, kib]) => sum + Number(kib) * 1024,
    0,
  );
}
