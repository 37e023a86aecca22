// What runs below a process, as the kernel tells it.
import { readdirSync, readFileSync } from 'node:fs';

export interface Below {
  readonly pid: number;
  readonly name: string;
  /** Its pids in the namespaces further in than that of the process it is below. */
  readonly innerPids: readonly number[];
}

/** All that descends from `root` and lives. */
export function processesBelow(root: number): Below[] {
  const all = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => statusOf(Number(name)));
  const depth = all.find(({ pid }) => pid === root)?.pids.length ?? 1;
  const found: Below[] = [];
  const parents = new Set([root]);
  // Whoever is below is found in one of the rounds, in whatever order the pids are.
  for (let before = -1; before < found.length; ) {
    before = found.length;
    for (const { pid, parent, name, pids } of all) {
      if (parents.has(pid) || !parents.has(parent)) continue;
      parents.add(pid);
      found.push({ pid, name, innerPids: pids.slice(depth) });
    }
  }
  return found;
}

/** Whether all that the service started is over, but for what mounts disk images: that is there as long as it is. */
export const runsNothingMore = (service: number) =>
  processesBelow(service).every(({ name }) => name === 'host-disk');

function statusOf(pid: number): { pid: number; parent: number; name: string; pids: number[] }[] {
  let status: string;
  try {
    status = readFileSync(`/proc/${pid}/status`, 'latin1');
  } catch {
    return [];
  }
  const field = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? '';
  if (field('State').startsWith('Z')) return [];
  return [
    {
      pid,
      parent: Number(field('PPid')),
      name: field('Name'),
      pids: field('NSpid').split(/\s+/).map(Number),
    },
  ];
}

/** Resident memory in bytes. */
export function residentBytes(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
  return Number(kib) * 1024;
}
