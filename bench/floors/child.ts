// A floor that has to be a process of its own, as the product is one: it says `ready` with a port, and takes messages.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Bench } from '../bench.js';

export interface FloorProcess {
  readonly port: number;
  /** Sends a message and gives the answer to it. */
  ask<T>(message: Record<string, unknown>): Promise<T>;
}

/** `name` is that of a file beside this one. */
export async function startFloor(bench: Bench, name: string): Promise<FloorProcess> {
  const child: ChildProcess = fork(fileURLToPath(new URL(`./${name}.js`, import.meta.url)));
  bench.undo.push(name, async () => {
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  });
  const answer = async <T>() => ((await once(child, 'message')) as [T])[0];
  const { port } = await answer<{ port: number }>();
  return {
    port,
    ask: <T>(message: Record<string, unknown>) => {
      const answered = answer<T>();
      child.send(message);
      return answered;
    },
  };
}
