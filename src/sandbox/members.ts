// Which host processes a sandbox's own pids are. The agent names pids of its namespace; the kernel alone says whose
// they are: only members of the sandbox count, matched by their pids in each namespace and by their owner.
import { readKernelFile } from './limits/kernel-file.js';
import type { LimitGroup } from './limits/limits.js';

interface Identity {
  readonly pid: number;
  readonly parent: number;
  readonly uid: number;
  /** Its pid in our namespace, then in each one further in. */
  readonly pids: readonly number[];
}

interface Wanted {
  /** Host pid of the agent that knows it: a session may have several at once, each with a process of this number. */
  readonly agentPid: number;
  readonly uid: number;
  readonly nested: boolean;
}

/** A process that waits for its program to end, and the main process of that program. */
export interface Kept {
  readonly keeper: number;
  readonly main: number;
}

/** The host pids of the keeper that the agent knows by `keeperPid`, and of the main process it keeps. */
export function keeperAndMain(
  members: readonly number[],
  keeperPid: number,
  wanted: Wanted,
): Kept | undefined {
  // Who made a keeper leaves as soon as it is there. If it was read before that and its parent after, it has none.
  return findKept(members, keeperPid, wanted) ?? findKept(members, keeperPid, wanted);
}

function findKept(members: readonly number[], keeperPid: number, wanted: Wanted): Kept | undefined {
  const { agentPid, uid, nested } = wanted;
  const inside = new Set(members);
  const read = new Map<number, Identity>();
  const own = (pid: number): Identity | undefined => {
    const identity = inside.has(pid) ? (read.get(pid) ?? identify(pid)) : undefined;
    if (identity?.uid !== uid) return undefined;
    read.set(pid, identity);
    return identity;
  };
  const isBelow = ({ parent }: Identity): boolean => {
    if (parent === agentPid) return true;
    const above = own(parent);
    return above !== undefined && isBelow(above);
  };
  const depth = nested ? 3 : 2;
  const isKeeper = (each: Identity) =>
    each.pids.length >= depth &&
    each.pids.at(nested ? -2 : -1) === keeperPid &&
    isFirst(each.pids, nested) &&
    isBelow(each);
  let keeper: number | undefined;
  // The newest first: the two that nobody knows yet are mostly the last ones, and need to be all that is read.
  for (const pid of [...members].sort((a, b) => b - a)) {
    const each = own(pid);
    if (each && isKeeper(each)) keeper = pid;
    const main = keeper && [...read.values()].find(({ parent }) => parent === keeper);
    if (keeper && main) return { keeper, main: main.pid };
  }
  return undefined;
}

/** The keeper of a nested namespace is its pid 1. */
const isFirst = (pids: readonly number[], nested: boolean) => !nested || pids.at(-1) === 1;

/** All that descends from a process of ours, where no control group says who belongs to it. */
export function descendants(pid: number): number[] {
  const children = (readKernelFile(`/proc/${pid}/task/${pid}/children`) ?? '')
    .split(' ')
    .map(Number)
    .filter((child) => child > 0);
  return [...children, ...children.flatMap(descendants)];
}

/** All that is in the sandbox of these agents. */
export function membersOf(group: LimitGroup, agents: readonly { readonly pid: number }[]): number[] {
  return group.processes() ?? agents.flatMap(({ pid }) => descendants(pid));
}

function identify(pid: number): Identity | undefined {
  const status = readKernelFile(`/proc/${pid}/status`);
  if (!status) return undefined;
  const numbers = (line: RegExp) => (line.exec(status)?.[1] ?? '').split(/\s+/).map(Number);
  return { pid, parent: numbers(PARENT)[0]!, uid: numbers(UID)[0]!, pids: numbers(PIDS) };
}

const PARENT = /^PPid:\s*(.*)$/m;
const UID = /^Uid:\s*(.*)$/m;
const PIDS = /^NSpid:\s*(.*)$/m;
