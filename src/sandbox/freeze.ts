// Stops processes with signals, where the kernel cannot freeze them as a group.
import { setTimeout as sleep } from 'node:timers/promises';
import { readKernelFile } from './limits/kernel-file.js';

const MAX_ROUNDS = 100;

/** Stops all of them until a look finds nobody running; `members` is asked again each time, as they may fork.
 *  Resolves with those that were running, who are to be continued. */
export async function stopAll(members: () => readonly number[]): Promise<number[]> {
  const stopped = new Set<number>();
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const running = members().filter((pid) => !STILL.has(stateOf(pid)));
    if (running.length === 0) return [...stopped];
    for (const pid of running) {
      stopped.add(pid);
      signal(pid, 'SIGSTOP');
    }
    await sleep(Math.min(round, 10));
  }
  continueAll([...stopped]);
  throw new Error('the processes of the sandbox could not be stopped');
}

export function continueAll(pids: readonly number[]): void {
  for (const pid of pids) signal(pid, 'SIGCONT');
}

/** Stopped, traced, dead or gone. */
const STILL = new Set(['T', 't', 'Z', 'X', '']);

function stateOf(pid: number): string {
  const stat = readKernelFile(`/proc/${pid}/stat`) ?? '';
  return stat.slice(stat.lastIndexOf(')') + 2).charAt(0);
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
