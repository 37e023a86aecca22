import { readFile } from 'node:fs/promises';
import type { Logger } from '../../observability/logger.js';
import { openCgroupV1 } from './cgroup-v1.js';
import { openCgroupV2 } from './cgroup-v2.js';
import { groupName } from './group.js';
import type { Limiter } from './limits.js';
import { NoCgroup } from './no-cgroup.js';
import { type CgroupPlace, findPlace } from './place.js';

/**
 * The strongest limiter that this host lets us use. Its groups stand below our own group, under a name made from
 * `instance`, which has to be the same after a restart (for `sweep`) and another for every service on the host.
 */
export async function findLimiter(log: Logger, instance: string): Promise<Limiter> {
  const base = groupName('codegen-worker', instance);
  const place = await readPlace();
  const against: Record<string, string> = {};
  for (const [version, open] of [
    ['v2', openCgroupV2],
    ['v1', openCgroupV1],
  ] as const) {
    try {
      const limiter = await open(place, base);
      log.info({ cgroup: version }, 'limits rest on cgroups');
      return limiter;
    } catch (error) {
      against[version] = error instanceof Error ? error.message : String(error);
    }
  }
  log.warn({ against }, 'no cgroup can be used; limits rest on rlimits and a watcher');
  return new NoCgroup(against);
}

async function readPlace(): Promise<CgroupPlace> {
  try {
    return findPlace(
      await readFile('/proc/self/mountinfo', 'utf8'),
      await readFile('/proc/self/cgroup', 'utf8'),
    );
  } catch {
    return { unified: null, controllers: new Map() };
  }
}
