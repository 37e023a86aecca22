// The agents of sandboxes as the host sees them, for tests that end or stop one from outside.
import { readFile } from 'node:fs/promises';

/** The host pid of the agent in whose sandbox this process runs. */
export async function agentAbove(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'latin1');
  if (/^NSpid:\t\d+\t1$/m.test(status)) return pid;
  const parent = Number(/^PPid:\t(\d+)$/m.exec(status)?.[1] ?? 0);
  if (parent <= 1) throw new Error('it runs in no sandbox');
  return agentAbove(parent);
}
