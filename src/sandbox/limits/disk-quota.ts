// A project quota for each workspace, on file systems that have them switched on (ext4 with `prjquota`, XFS with
// `pquota`). The project's number is the workspace's uid, so there is nothing more to keep.
import { type DiskPlace, type DiskSize, kernelDiskUse, WATCHED, type WorkspaceDisk } from './disk.js';
import type { HostDisk } from './host-disk.js';

export async function createQuota(
  host: HostDisk,
  { path, uid }: DiskPlace,
  { diskBytes, maxInodes }: DiskSize,
): Promise<WorkspaceDisk> {
  await host.ask('limit', { path, project: uid!, size: diskBytes, inodes: maxInodes });
  return new DiskQuota(host, path, uid!);
}

/** The file system remembers those it has; a workspace that was made without one is watched. */
export async function attachQuota(
  host: HostDisk,
  { path, uid }: DiskPlace,
  size: DiskSize,
): Promise<WorkspaceDisk> {
  return (await isHeld(path, size)) ? new DiskQuota(host, path, uid!) : WATCHED;
}

/** With a quota, the size of the file system as seen from the workspace is that of the quota. */
export async function isHeld(path: string, { diskBytes }: DiskSize): Promise<boolean> {
  const { diskBytes: used, freeBytes } = await kernelDiskUse(path);
  return used + freeBytes <= 1.1 * diskBytes;
}

class DiskQuota implements WorkspaceDisk {
  readonly kind = 'quota';

  constructor(
    private readonly host: HostDisk,
    private readonly path: string,
    private readonly project: number,
  ) {}

  async unwrittenBytes(): Promise<number> {
    return 0;
  }

  async detach(): Promise<void> {}

  async discard(): Promise<boolean> {
    await this.host.ask('unlimit', { path: this.path, project: this.project });
    return false;
  }
}
