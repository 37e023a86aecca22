// Asks `host_disk.py`, which runs as root beside the service, for what Node has no calls for.
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type Deferred, deferred } from '../../lib/deferred.js';

const PYTHON = '/usr/bin/python3';
const SCRIPT = fileURLToPath(new URL('./host_disk.py', import.meta.url));

export class HostDisk {
  readonly #lock: string;
  #child: ChildProcess | undefined;
  readonly #asked = new Map<number, Deferred<void>>();
  #lastId = 0;

  /** `lock`: one path for all that may use the same workspaces, one after the other. */
  constructor(lock: string) {
    this.#lock = lock;
  }

  /** Resolves when it is done; rejects with what stood against it. */
  ask(op: string, given: Readonly<Record<string, string | number>>): Promise<void> {
    this.#child ??= this.#start();
    this.#lastId += 1;
    const id = this.#lastId;
    const asked = deferred<void>();
    this.#asked.set(id, asked);
    this.#child.stdin!.write(`${JSON.stringify({ id, op, with: given })}\n`);
    return asked.promise;
  }

  /** It ends when what it was asked for is done. */
  async close(): Promise<void> {
    const child = this.#child;
    if (!child) return;
    const ended = new Promise((resolve) => child.on('close', resolve));
    child.stdin!.end();
    await ended;
  }

  #start(): ChildProcess {
    const child = spawn(PYTHON, ['-I', '-S', SCRIPT, this.#lock], {
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8' },
      cwd: '/',
      stdio: ['pipe', 'pipe', 'inherit'],
      // A Ctrl-C is for the service, which then still needs it to take mounts away.
      detached: true,
    });
    child.stdin!.on('error', () => {});
    createInterface({ input: child.stdout! }).on('line', (line) => {
      const { id, error, code } = JSON.parse(line) as { id: number; error?: string; code?: string };
      const asked = this.#asked.get(id);
      this.#asked.delete(id);
      if (error === undefined) asked?.resolve();
      else asked?.reject(Object.assign(new Error(error), { code }));
    });
    const gone = (why: string) => {
      if (this.#child === child) this.#child = undefined;
      for (const asked of this.#asked.values()) asked.reject(new Error(`host_disk.py: ${why}`));
      this.#asked.clear();
    };
    child.on('error', (error) => gone(error.message));
    child.on('close', (code, signal) => gone(`it ended with ${signal ?? code}`));
    return child;
  }
}
