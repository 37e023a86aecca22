// Which host processes a sandbox's own pids are. The agent names pids of its namespace; the kernel alone says whose
// they are: only members of the sandbox count, matched by their pids in each namespace and by their owner.
import { readFile } from 'node:fs/promises';
import type { LimitGroup } from './limits/limits.js';

interface Identity {
  readonly pid: number;
  readonly parent: number;
  readonly uid: number;
  /** Its pid in our namespace, then in each one further in. */
  readonly pids: readonly number[];
}

interface Wanted {
  /** Of the agent that knows it: a session may have several at once, each with a process of this number. */
  readonly launchedPid: number;
  readonly uid: number;
  readonly nested: boolean;
}

/** The host pids of the keeper that the agent knows by `keeperPid`, and of the main process it keeps. */
export async function keeperAndMain(
  members: readonly number[],
  keeperPid: number,
  wanted: Wanted,
): Promise<number[]> {
  const look = async () => findKeeper(await Promise.all(members.map(identify)), keeperPid, wanted);
  // Who made a keeper leaves as soon as it is there. If it was read before that and its parent after, it has none.
  return (await look()) ?? (await look()) ?? [];
}

function findKeeper(found: (Identity | null)[], keeperPid: number, wanted: Wanted): number[] | undefined {
  const { launchedPid, uid, nested } = wanted;
  const own = new Map(found.flatMap((each) => (each?.uid === uid ? [[each.pid, each]] : [])));
  const isBelow = ({ parent }: Identity): boolean => {
    const above = own.get(parent);
    return parent === launchedPid || (above !== undefined && isBelow(above));
  };
  const depth = nested ? 3 : 2;
  const keeper = [...own.values()].find(
    (each) =>
      each.pids.length >= depth &&
      each.pids.at(nested ? -2 : -1) === keeperPid &&
      isFirst(each.pids, nested) &&
      isBelow(each),
  );
  if (!keeper) return undefined;
  const main = [...own.values()].filter(({ parent }) => parent === keeper.pid);
  return [keeper.pid, ...main.map(({ pid }) => pid)];
}

/** The keeper of a nested namespace is its pid 1. */
const isFirst = (pids: readonly number[], nested: boolean) => !nested || pids.at(-1) === 1;

/** All that descends from a process of ours, where no control group says who belongs to it. */
export async function descendants(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'latin1').catch(() => '');
  const children = text
    .split(' ')
    .map(Number)
    .filter((child) => child > 0);
  return [...children, ...(await Promise.all(children.map(descendants))).flat()];
}

/** All that is in the sandbox of these agents. */
export async function membersOf(
  group: LimitGroup,
  agents: readonly { readonly pid: number }[],
): Promise<number[]> {
  return (await group.processes()) ?? (await Promise.all(agents.map(({ pid }) => descendants(pid)))).flat();
}

async function identify(pid: number): Promise<Identity | null> {
  const status = await readFile(`/proc/${pid}/status`, 'latin1').catch(() => '');
  const numbers = (name: string) =>
    (new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? '').split(/\s+/).map(Number);
  if (status === '') return null;
  return { pid, parent: numbers('PPid')[0]!, uid: numbers('Uid')[0]!, pids: numbers('NSpid') };
}
