// Which host processes a sandbox's own pids are. The agent names pids of its namespace; the kernel alone says whose
// they are: only members of the sandbox count, matched by their pids in each namespace and by their owner.
import { readFile } from 'node:fs/promises';

interface Identity {
  readonly pid: number;
  readonly parent: number;
  readonly uid: number;
  /** Its pid in our namespace, then in each one further in. */
  readonly pids: readonly number[];
}

/** The host pids of the keeper that the agent knows by `keeperPid`, and of the main process it keeps. */
export async function keeperAndMain(
  members: readonly number[],
  keeperPid: number,
  options: { readonly uid: number; readonly nested: boolean },
): Promise<number[]> {
  const identities = (await Promise.all(members.map(identify))).filter((each) => each !== null);
  const own = identities.filter((each) => each.uid === options.uid);
  const depth = options.nested ? 3 : 2;
  const keeper = own.find(
    ({ pids }) =>
      pids.length >= depth &&
      pids.at(options.nested ? -2 : -1) === keeperPid &&
      isFirst(pids, options.nested),
  );
  if (!keeper) return [];
  return [keeper.pid, ...own.filter(({ parent }) => parent === keeper.pid).map(({ pid }) => pid)];
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

async function identify(pid: number): Promise<Identity | null> {
  const status = await readFile(`/proc/${pid}/status`, 'latin1').catch(() => '');
  const numbers = (name: string) =>
    (new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? '').split(/\s+/).map(Number);
  if (status === '') return null;
  return { pid, parent: numbers('PPid')[0]!, uid: numbers('Uid')[0]!, pids: numbers('NSpid') };
}
