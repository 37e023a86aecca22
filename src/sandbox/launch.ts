// Starts bubblewrap, and knows how to end it so that nothing of its sandbox is left.
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import { type BubblewrapPolicy, bubblewrapArgs } from './bubblewrap.js';

/** An own end is given this long to follow the end of pid 1, before bubblewrap itself is killed. */
const END_WITHIN_MS = 5_000;
const STDERR_BYTES = 64 * 1024;

export interface Launch {
  readonly bubblewrap: string;
  readonly policy: Omit<BubblewrapPolicy, 'statusFd' | 'blockFd' | 'seccompFd'>;
  /** Set for everything inside by bubblewrap; null when the agent does it for its children. */
  readonly seccomp: Buffer | null;
  /** Host uid and gid to start it with; null keeps ours. */
  readonly uid: number | null;
  /** Puts the host pids under their limits, before anything inside runs. */
  adopt(pids: readonly number[]): Promise<void>;
}

export interface LaunchEnd {
  readonly code: number | null;
  readonly signal: string | null;
  /** The last of what bubblewrap and pid 1 said there. */
  readonly stderr: string;
}

export interface Launched {
  /** Bubblewrap's own pid on the host. */
  readonly pid: number;
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** Resolves, never rejects, when the sandbox is gone. */
  readonly ended: Promise<LaunchEnd>;
  /** SIGKILL for all that is inside. */
  kill(): void;
}

export class LaunchFailed extends Error {}

const ARGS_FD = 3;
const STATUS_FD = 4;
const BLOCK_FD = 5;
const SECCOMP_FD = 6;

/** Resolves when the sandbox may run, under its limits. Rejects with LaunchFailed, leaving nothing behind. */
export async function launch({ bubblewrap, policy, seccomp, uid, adopt }: Launch): Promise<Launched> {
  const child = spawn(bubblewrap, ['--args', String(ARGS_FD), '--', ...policy.command], {
    // bubblewrap's own environment can be read inside as that of pid 1: it has none.
    env: {},
    cwd: '/',
    stdio: ['pipe', 'pipe', 'pipe', 'pipe', 'pipe', 'pipe', ...(seccomp ? (['pipe'] as const) : [])],
    ...(uid === null ? {} : { uid, gid: uid }),
  });
  const stderr = tailOf(child.stderr!);
  const ended = endOf(child, stderr);
  if (child.pid === undefined)
    throw new LaunchFailed(`could not start ${bubblewrap}: ${(await ended).stderr}`);
  const sandbox = new Running(child as ChildProcess & { pid: number }, ended);
  try {
    const args = bubblewrapArgs({
      ...policy,
      statusFd: STATUS_FD,
      blockFd: BLOCK_FD,
      ...(seccomp ? { seccompFd: SECCOMP_FD } : {}),
    });
    const [, , , argsPipe, statusPipe, blockPipe, seccompPipe] = child.stdio as unknown as Writable[];
    for (const pipe of child.stdio) pipe?.on('error', () => {});
    argsPipe!.end(args.map((arg) => `${arg}\0`).join(''));
    seccompPipe?.end(seccomp);
    const inner = await innerPid(statusPipe as unknown as Readable);
    sandbox.innerPid = inner;
    await adopt([child.pid, inner]);
    blockPipe!.end('x');
    return sandbox;
  } catch (cause) {
    sandbox.kill();
    const { code, stderr } = await ended;
    const said = stderr.trim() || `it ended with code ${code}`;
    throw new LaunchFailed(`bubblewrap: ${cause instanceof NoStatus ? said : String(cause)}`, { cause });
  }
}

class Running implements Launched {
  readonly pid: number;
  readonly stdin: Writable;
  readonly stdout: Readable;
  innerPid: number | undefined;

  constructor(
    private readonly child: ChildProcess & { pid: number },
    readonly ended: Promise<LaunchEnd>,
  ) {
    this.pid = child.pid;
    this.stdin = child.stdin!;
    this.stdout = child.stdout!;
  }

  kill(): void {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    // Bubblewrap waits for pid 1, and pid 1 is gone only when all of its namespace is: so it is pid 1 that is killed,
    // and bubblewrap's own end then says that nothing is left.
    if (this.innerPid === undefined || parentOf(this.innerPid) !== this.pid) {
      this.child.kill('SIGKILL');
      return;
    }
    kill(this.innerPid);
    const impatience = setTimeout(() => this.child.kill('SIGKILL'), END_WITHIN_MS);
    void this.ended.then(() => clearTimeout(impatience));
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function parentOf(pid: number): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return null;
  }
}

class NoStatus extends Error {}

/** The host pid of pid 1 inside. bubblewrap says it before anything inside can run, so it may be acted on. */
function innerPid(status: Readable): Promise<number> {
  return new Promise((resolve, reject) => {
    let text = '';
    status.setEncoding('utf8');
    status.on('data', (chunk: string) => {
      if (text.length < 4096) text += chunk;
      const pid = /"child-pid"\s*:\s*(\d+)/.exec(text)?.[1];
      if (pid !== undefined) resolve(Number(pid));
    });
    status.on('close', () => reject(new NoStatus('bubblewrap ended before the sandbox stood')));
  });
}

function tailOf(stream: Readable): () => string {
  let tail = '';
  stream.setEncoding('utf8');
  stream.on('data', (chunk: string) => {
    tail = (tail + chunk).slice(-STDERR_BYTES);
  });
  return () => tail;
}

function endOf(child: ChildProcess, stderr: () => string): Promise<LaunchEnd> {
  return new Promise((resolve) => {
    child.on('error', (error) => resolve({ code: null, signal: null, stderr: error.message }));
    child.on('close', (code, signal) => resolve({ code, signal, stderr: stderr() }));
  });
}
