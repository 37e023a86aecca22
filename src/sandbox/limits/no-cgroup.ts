// Where no cgroup may be used: rlimits hold single processes, and usage is added up from /proc. Nothing can be frozen,
// and the kernel's kill of a pid namespace takes the place of the group's.
import { readdir, readFile } from 'node:fs/promises';
import { killIfThere, until } from './group.js';
import type { ChildGroup, Limiter, LimitGroup } from './limits.js';

const GONE_WITHIN_MS = 30_000;
/** USER_HZ: what /proc counts CPU time in, on every architecture we run on. */
const TICKS_PER_SECOND = 100;

export class NoCgroup implements Limiter {
  readonly kind = null;

  constructor(readonly against: Readonly<Record<string, string>> = {}) {}

  async create(): Promise<LimitGroup> {
    return new ProcessTree();
  }

  async sweep(): Promise<void> {}

  async close(): Promise<void> {}
}

interface ProcessStat {
  readonly pid: number;
  readonly parent: number;
  readonly state: string;
  readonly startTime: string;
  readonly cpuTicks: number;
}

/** The adopted processes and everything that descends from them. */
class ProcessTree implements LimitGroup, ChildGroup {
  /** pid → start time, so that a pid used anew is never taken for the one we knew. */
  readonly #roots = new Map<number, string>();

  /** Whatever leaves its parent in the program has the keeper as its parent. */
  async adopt(pids: readonly number[], keeper?: number): Promise<void> {
    for (const pid of keeper === undefined ? pids : [keeper, ...pids]) {
      const stat = await readStat(pid);
      if (stat) this.#roots.set(pid, stat.startTime);
    }
  }

  async child(): Promise<ChildGroup> {
    return new ProcessTree();
  }

  async limitMemory(): Promise<void> {}

  processes(): null {
    return null;
  }

  ownProcesses(): null {
    return null;
  }

  /** Pages that are shared count for each who maps them, and only where that is too much is it looked at closely. */
  async memoryUsed(bytes: number): Promise<number> {
    const members = await this.#members();
    const roughly = sum(await Promise.all(members.map(({ pid }) => residentOf(pid))));
    return roughly <= bytes ? roughly : sum(await Promise.all(members.map(({ pid }) => memoryOf(pid))));
  }

  socketBytes(): number {
    return 0;
  }

  oomKills(): number {
    return 0;
  }

  async usage() {
    const members = await this.#members();
    const memory = await Promise.all(members.map(({ pid }) => memoryOf(pid)));
    return {
      memoryBytes: sum(memory),
      cpuMs: sum(members.map(({ cpuTicks }) => (cpuTicks * 1000) / TICKS_PER_SECOND)),
      processes: members.length,
    };
  }

  async freeze(): Promise<boolean> {
    return false;
  }

  async thaw(): Promise<void> {}

  async kill(): Promise<void> {
    for (const pid of await this.#livingRoots()) killIfThere(pid);
    // Pid 1 of a namespace is among the roots, and it is gone only when all of its namespace is.
    if (!(await until(async () => (await this.#livingRoots()).length === 0, GONE_WITHIN_MS))) {
      throw new Error(`processes ${[...this.#roots.keys()].join(', ')} are still there after SIGKILL`);
    }
  }

  async remove(): Promise<void> {
    this.#roots.clear();
  }

  async #livingRoots(): Promise<number[]> {
    const living: number[] = [];
    for (const [pid, startTime] of this.#roots) {
      const stat = await readStat(pid);
      if (stat?.startTime === startTime && stat.state !== 'Z') living.push(pid);
    }
    return living;
  }

  async #members(): Promise<ProcessStat[]> {
    if (this.#roots.size === 0) return [];
    const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
    const stats = (await Promise.all(pids.map(readStat))).filter((stat) => stat !== null);
    const childrenOf = groupByParent(stats);
    const members = new Map<number, ProcessStat>();
    const add = (stat: ProcessStat) => {
      if (members.has(stat.pid)) return;
      members.set(stat.pid, stat);
      for (const child of childrenOf.get(stat.pid) ?? []) add(child);
    };
    for (const stat of stats) if (this.#roots.get(stat.pid) === stat.startTime) add(stat);
    return [...members.values()];
  }
}

function groupByParent(stats: readonly ProcessStat[]): Map<number, ProcessStat[]> {
  const groups = new Map<number, ProcessStat[]>();
  for (const stat of stats) {
    const group = groups.get(stat.parent);
    if (group) group.push(stat);
    else groups.set(stat.parent, [stat]);
  }
  return groups;
}

async function readStat(pid: number): Promise<ProcessStat | null> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null);
  if (text === null) return null;
  // The name, in brackets, may hold spaces and brackets itself; everything of ours comes after it.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return {
    pid,
    state: fields[0]!,
    parent: Number(fields[1]),
    // Its own time and that of the children it waited for: together nothing is missed and nothing counted twice.
    cpuTicks: fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0),
    startTime: fields[19]!,
  };
}

/** Its share of the pages it maps, where we may see that; else all of them. */
async function memoryOf(pid: number): Promise<number> {
  const shares = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
  const shareKb = /^Pss:\s+(\d+)/m.exec(shares)?.[1];
  if (shareKb !== undefined) return Number(shareKb) * 1024;
  return residentOf(pid);
}

async function residentOf(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) * 1024;
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, each) => total + each, 0);
