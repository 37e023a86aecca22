// Which way to hold workspaces to their size works here: found at the start, by trying it where workspaces will be.
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../../observability/logger.js';
import type { DiskLimitSetting } from '../sandbox.js';
import {
  type DiskKind,
  type DiskLimiter,
  type DiskPlace,
  type DiskSize,
  WATCHED,
  type WorkspaceDisk,
} from './disk.js';
import { attachImage, createImage, scrapImage } from './disk-image.js';
import { attachQuota, createQuota, isHeld } from './disk-quota.js';
import { HostDisk } from './host-disk.js';

export interface FindDiskOptions {
  readonly wanted: DiskLimitSetting;
  /** The directory that workspaces will be made in. */
  readonly workspaces: string;
  readonly isRoot: boolean;
  /** What runs inside has a user namespace of its own, and with it no say over the project of its files. */
  readonly inUserNamespace: boolean;
  readonly log: Logger;
}

/** The strongest way, or the one asked for; throws when that one cannot be had. */
export async function findDiskLimiter(options: FindDiskOptions): Promise<DiskLimiter> {
  const { wanted, workspaces, isRoot, inUserNamespace, log } = options;
  const host = new HostDisk(join(workspaces, '..', 'disks.lock'));
  const against: Record<string, string> = {};
  for (const kind of ['quota', 'image'] as const) {
    if (wanted !== 'auto' && wanted !== kind) continue;
    try {
      if (!isRoot) throw new Error('it takes root');
      if (kind === 'quota' && !inUserNamespace)
        throw new Error('without user namespaces code could reset it');
      await tryOut(new Disks(kind, host), workspaces);
      log.info({ disk: kind }, 'the kernel holds workspaces to their size');
      return new Disks(kind, host, against);
    } catch (error) {
      against[kind] = error instanceof Error ? error.message : String(error);
    }
  }
  if (wanted === 'quota' || wanted === 'image') {
    await host.close();
    throw new Error(`DISK_LIMIT=${wanted} is not possible here: ${against[wanted]}`);
  }
  log.info({ against }, 'a watcher holds workspaces to their size');
  return new Disks('watcher', host, against);
}

class Disks implements DiskLimiter {
  constructor(
    readonly kind: DiskKind,
    private readonly host: HostDisk,
    readonly against: Readonly<Record<string, string>> = {},
  ) {}

  async create(place: DiskPlace, size: DiskSize): Promise<WorkspaceDisk> {
    switch (this.kind) {
      case 'image':
        return createImage(this.host, place, size);
      case 'quota':
        return createQuota(this.host, place, size);
      case 'watcher':
        return WATCHED;
      default:
        return this.kind satisfies never;
    }
  }

  /** The way may have been another one when the workspace was made. */
  async attach(place: DiskPlace, size: DiskSize): Promise<WorkspaceDisk> {
    const image = await attachImage(this.host, place);
    return image ?? (this.kind === 'quota' ? attachQuota(this.host, place, size) : WATCHED);
  }

  scrap(place: DiskPlace): Promise<void> {
    return scrapImage(this.host, place);
  }

  close(): Promise<void> {
    return this.host.close();
  }
}

const TRIED: DiskSize = { diskBytes: 8 * 1024 ** 2, maxInodes: 200 };
/** A project that no workspace has: theirs are the numbers of uids. */
const TRIAL_PROJECT = 4_200_000_000;

/** Makes one, asks the kernel what it holds it to, and takes it away again. */
async function tryOut(limiter: DiskLimiter, workspaces: string): Promise<void> {
  const directory = await mkdtemp(join(workspaces, 'trial_'));
  try {
    const place = { directory, path: join(directory, 'workspace'), uid: TRIAL_PROJECT };
    await mkdir(place.path);
    const disk = await limiter.create(place, TRIED);
    const inForce = await isHeld(place.path, TRIED);
    await disk.discard();
    if (!inForce) throw new Error('it was set up and is not in force');
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
