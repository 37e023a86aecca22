// Starts sandboxes; here with bubblewrap. Knows how to end it so that nothing of its sandbox is left.
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { deferred } from '../lib/deferred.js';
import { settledWithin } from '../lib/settled-within.js';
import { unlessAborted } from '../lib/unless-aborted.js';
import { AttentiveClock } from './attentive-clock.js';
import { type BubblewrapPolicy, bubblewrapArgs, DROPPING_CAPABILITIES, withoutRoot } from './bubblewrap.js';
import { stopAll } from './freeze.js';
import { accounts } from './host-directories.js';
import { descendants } from './members.js';
import { ProcessorTime, readProcessor } from './processor-time.js';
import { SandboxStartTimedOut } from './sandbox.js';

/** An own end is given this long to follow the end of pid 1, before bubblewrap itself is killed. */
export const END_WITHIN_MS = 5_000;
/** How often we look whether what is inside has gone, when bubblewrap went first. */
const LOOK_EVERY_MS = 20;
const STDERR_BYTES = 64 * 1024;

export interface Launch {
  readonly policy: Omit<
    BubblewrapPolicy,
    'statusFd' | 'blockFd' | 'seccompFd' | 'data' | 'userNamespace' | 'proc'
  >;
  /** Set for everything inside; null when the agent does it for its children. */
  readonly seccomp: Buffer | null;
  /** Host uid and gid of everything inside; null keeps ours. */
  readonly uid: number | null;
  /** Puts the host pids under their limits, before anything inside runs. */
  adopt(pids: readonly number[]): Promise<void>;
  /** Given up when it does not run within this time, in which it could have. */
  readonly startWithinMs: number;
  /** Aborted when it is not wanted any more. */
  readonly signal?: AbortSignal;
}

export interface LaunchEnd {
  readonly code: number | null;
  readonly signal: string | null;
  /** The last of what bubblewrap and pid 1 said there. */
  readonly stderr: string;
}

export interface Launched {
  /** On the host, of what was started: everything inside descends from it. */
  readonly pid: number;
  /** On the host, of pid 1 inside. */
  readonly innerPid: number;
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** Resolves, never rejects, when the sandbox is gone. */
  readonly ended: Promise<LaunchEnd>;
  /** SIGKILL for all that is inside. */
  kill(): void;
}

export class LaunchFailed extends Error {}

export interface Launcher {
  /** Resolves when the sandbox may run, under its limits. Rejects with LaunchFailed, leaving nothing behind. */
  launch(launch: Launch): Promise<Launched>;
}

const ARGS_FD = 3;
const STATUS_FD = 4;
const BLOCK_FD = 5;
const FIRST_DATA_FD = 6;

export class BubblewrapLauncher implements Launcher {
  constructor(
    private readonly bubblewrap: string,
    private readonly mode: { readonly userNamespace: boolean; readonly proc: boolean },
  ) {}

  async launch({ policy, seccomp, uid, adopt, startWithinMs, signal }: Launch): Promise<Launched> {
    const { bubblewrap, mode } = this;
    // Root needs itself to make the namespaces when no user namespace makes it root of one.
    const rootUid = mode.userNamespace ? null : uid;
    const data = rootUid === null ? [] : Object.entries(accounts(rootUid));
    const contents = [...data.map(([, text]) => text), ...(seccomp ? [seccomp] : [])];
    const capabilities = policy.capabilities ?? [];
    const command = rootUid === null ? policy.command : withoutRoot(policy.command, rootUid, capabilities);
    const child = spawn(bubblewrap, ['--args', String(ARGS_FD), '--', ...command], {
      // bubblewrap's own environment can be read inside as that of pid 1: it has none.
      env: {},
      cwd: '/',
      stdio: ['pipe', 'pipe', 'pipe', 'pipe', 'pipe', 'pipe', ...contents.map(() => 'pipe' as const)],
      ...(uid === null || rootUid !== null ? {} : { uid, gid: uid }),
    });
    const stderr = tailOf(child.stderr!);
    const closed = endOf(child, stderr);
    if (child.pid === undefined)
      throw new LaunchFailed(`could not start ${bubblewrap}: ${(await closed).stderr}`);
    const sandbox = new Running(child as ChildProcess & { pid: number }, closed);
    const inner = innerPid(child.stdio[STATUS_FD] as Readable);
    inner.then(
      (pid) => sandbox.knowInner(pid),
      () => {},
    );
    try {
      const args = bubblewrapArgs({
        ...policy,
        ...mode,
        capabilities: rootUid === null ? capabilities : [...capabilities, ...DROPPING_CAPABILITIES],
        statusFd: STATUS_FD,
        blockFd: BLOCK_FD,
        data: data.map(([name], index) => ({ fd: FIRST_DATA_FD + index, target: `/etc/${name}` })),
        ...(seccomp ? { seccompFd: FIRST_DATA_FD + data.length } : {}),
      });
      const [, , , argsPipe, , blockPipe, ...dataPipes] = child.stdio as unknown as Writable[];
      for (const pipe of child.stdio) pipe?.on('error', () => {});
      argsPipe!.end(args.map((arg) => `${arg}\0`).join(''));
      for (const [index, content] of contents.entries()) dataPipes[index]!.end(content);
      const pid = await inTime(inner, { startWithinMs, signal, pid: child.pid });
      await adopt([child.pid, pid]);
      blockPipe!.end('x');
      return sandbox as Launched;
    } catch (cause) {
      if (sandbox.innerPid === undefined) await killUntold(child.pid);
      sandbox.kill();
      // One that waits for a disk that does not answer cannot be killed yet; nobody waits for it.
      const isGone = await settledWithin(sandbox.ended, END_WITHIN_MS);
      signal?.throwIfAborted();
      if (cause instanceof SandboxStartTimedOut) throw cause;
      const said =
        stderr().trim() || (isGone ? `it ended with code ${child.exitCode}` : 'it cannot be killed');
      throw new LaunchFailed(`bubblewrap: ${cause instanceof NoStatus ? said : String(cause)}`, { cause });
    }
  }
}

export class Running implements Omit<Launched, 'innerPid'> {
  readonly pid: number;
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly ended: Promise<LaunchEnd>;
  /** Known when bubblewrap has said it. */
  innerPid: number | undefined;
  /** Tells pid 1 from a later process of the same number. */
  #innerStartedAt: string | undefined;

  constructor(
    private readonly child: ChildProcess & { pid: number },
    closed: Promise<LaunchEnd>,
  ) {
    this.pid = child.pid;
    this.stdin = child.stdin!;
    this.stdout = child.stdout!;
    this.ended = this.#whenGone(closed);
  }

  knowInner(pid: number): void {
    this.innerPid = pid;
    this.#innerStartedAt = readStat(pid)?.startedAt;
  }

  kill(): void {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    // Bubblewrap waits for pid 1, and pid 1 is gone only when all of its namespace is: so it is pid 1 that is killed,
    // and bubblewrap's own end then says that nothing is left.
    if (this.innerPid === undefined || readStat(this.innerPid)?.parent !== this.pid) {
      this.child.kill('SIGKILL');
      return;
    }
    kill(this.innerPid);
    const impatience = setTimeout(() => this.child.kill('SIGKILL'), END_WITHIN_MS);
    void this.ended.then(() => clearTimeout(impatience));
  }

  /** Bubblewrap may be gone before its sandbox, when somebody killed it, or we did because a process inside waits for
   *  a disk or a network and cannot be killed yet. A pid 1 that is a zombie has nothing left in its namespace. */
  async #whenGone(closed: Promise<LaunchEnd>): Promise<LaunchEnd> {
    const end = await closed;
    while (this.innerPid !== undefined) {
      const stat = readStat(this.innerPid);
      if (!stat || stat.state === 'Z' || stat.startedAt !== this.#innerStartedAt) break;
      await sleep(LOOK_EVERY_MS);
    }
    return end;
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function readStat(pid: number): { state: string; parent: number; startedAt: string } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return { state: fields[0]!, parent: Number(fields[1]), startedAt: fields[19]! };
  } catch {
    return undefined;
  }
}

/** Ends a bubblewrap that has not said yet what child it made. Killed after making it and before letting it run, it would
 *  leave a child that waits for its word for ever: so both are stopped first, and the child is found. */
async function killUntold(pid: number): Promise<void> {
  const all = () => [pid, ...descendants(pid)];
  // What waits for a disk cannot be stopped, but is killed as soon as it can be.
  await stopAll(all).catch(() => {});
  for (const each of all().reverse()) kill(each);
}

class NoStatus extends Error {}

/** Rejects when the process has not got so far within its time, or is not wanted any more. */
export async function inTime<T>(
  promise: Promise<T>,
  { startWithinMs, signal, pid }: Pick<Launch, 'startWithinMs' | 'signal'> & { readonly pid: number },
): Promise<T> {
  const clock = new AttentiveClock();
  const late = deferred<never>();
  const time = new ProcessorTime(() => readProcessor(pid));
  clock.after(
    startWithinMs,
    () => late.reject(new SandboxStartTimedOut(startWithinMs)),
    () => time.couldAnswer(),
  );
  try {
    const first = Promise.race([promise, late.promise]);
    return await (signal ? unlessAborted(first, signal) : first);
  } finally {
    clock.clear();
  }
}

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

export function tailOf(stream: Readable): () => string {
  let tail = '';
  stream.setEncoding('utf8');
  stream.on('data', (chunk: string) => {
    tail = (tail + chunk).slice(-STDERR_BYTES);
  });
  return () => tail;
}

export function endOf(child: ChildProcess, stderr: () => string): Promise<LaunchEnd> {
  return new Promise((resolve) => {
    child.on('error', (error) => resolve({ code: null, signal: null, stderr: error.message }));
    child.on('close', (code, signal) => resolve({ code, signal, stderr: stderr() }));
  });
}
