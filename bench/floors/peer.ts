// A service or library of others, in a process of its own that answers one line for each line: see bench/peers.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Bench } from '../bench.js';

export interface Peer {
  /** What it answers next. */
  ask(): Promise<string>;
}

/** The file is in bench/peers; undefined when it cannot run here. `what` it said goes to stderr. */
export async function startPeer(bench: Bench, program: string, name: string): Promise<Peer | undefined> {
  // The compiled file is in build/bench/floors.
  const directory = fileURLToPath(new URL('../../../bench/peers/', import.meta.url));
  const child = spawn(program, [name], { cwd: directory, stdio: ['pipe', 'pipe', 'inherit'] });
  bench.undo.push(name, async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.stdin.end();
    await ended;
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  if ((await lines.next()).value !== 'ready') return undefined;
  return {
    ask: async () => {
      child.stdin.write('\n');
      const { value, done } = await lines.next();
      if (done) throw new Error(`${name} has ended`);
      return value;
    },
  };
}
