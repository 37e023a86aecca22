// What holds a workspace to its size: the kernel, by a project quota or an ext4 image of its own, or else a watcher
// that looks at the tree again and again.
import { statfs } from 'node:fs/promises';

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
  /** For a new, empty workspace. */
  create(place: DiskPlace, size: DiskSize): Promise<WorkspaceDisk>;
  attach(place: DiskPlace, size: DiskSize): Promise<WorkspaceDisk>;
  /** Takes away what cannot be attached any more. */
  scrap(place: DiskPlace): Promise<void>;
  close(): Promise<void>;
}

export interface WorkspaceDisk {
  readonly kind: DiskKind;
  /** Undoes what is not to outlive the service; the workspace stays. */
  detach(): Promise<void>;
  /** Before the workspace goes. True when all that was in it is gone with this. */
  discard(): Promise<boolean>;
}

/** No help from the kernel. */
export const WATCHED: WorkspaceDisk = {
  kind: 'watcher',
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
