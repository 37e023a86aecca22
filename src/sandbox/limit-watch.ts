// Looks after the limits that the kernel does not hold for one sandbox: its memory where there is no cgroup, what sockets
// hold beside it, its disk where the workspace has no quota and no image. It looks only while programs run, and after them
// once more.
import { setTimeout as sleep } from 'node:timers/promises';
import { type DiskUse, kernelDiskUse, type WorkspaceDisk } from './limits/disk.js';
import type { ProgramExec } from './program-exec.js';
import { type ExecEnd, FileError, type SandboxLimits } from './sandbox.js';
import { uncountedSocketBytes } from './socket-memory.js';
import { temporarySpace } from './temporary-space.js';
import type { WorkspaceMeter } from './workspace-meter.js';

const MEMORY_EVERY_MS = 200;
const DISK_EVERY_MS = 500;
/** What sockets may hold beside the memory limit. The kernel refuses more than half of that where it counts them apart
 *  (cgroup v1), yet lets each of them have a little. */
const SOCKETS_SHARE = 0.5;
/** A look that took long is not taken again before so many times as long: watching costs at most a tenth of a core. */
const PATIENCE = 10;
/** With less than this left a workspace is full. */
const FULL_BYTES = 64 * 1024;
/** The kernel may refuse a large write as a whole, so a program can meet its limit with this much left. */
const LARGEST_REFUSED_BYTES = 4 * 1024 * 1024;

export interface LimitWatchOptions {
  readonly limits: SandboxLimits;
  /** A cgroup holds the memory. */
  readonly hasCgroup: boolean;
  readonly disk: WorkspaceDisk;
  /** Of the workspace on the host. */
  readonly path: string;
  readonly meter: WorkspaceMeter;
  readonly failed: (error: unknown) => void;
}

export class LimitWatch {
  readonly #programs = new Set<ProgramExec>();
  readonly #stop = new AbortController();
  readonly #loops = new Map<string, Promise<void>>();
  /** A program has run since the workspace was looked at. */
  #isStale = false;
  #lastLook: DiskUse | undefined;
  #isOver = false;

  constructor(private readonly options: LimitWatchOptions) {}

  /** From its start until it is gone. Resolves with its end, and with the limit that explains it. */
  async watch(exec: ProgramExec, ended: Promise<ExecEnd>): Promise<ExecEnd> {
    this.#programs.add(exec);
    if (!this.options.hasCgroup) this.#loop('memory', () => this.#lookAtMemory(), MEMORY_EVERY_MS);
    this.#loop('sockets', () => this.#lookAtSockets(), MEMORY_EVERY_MS);
    if (this.#isWatched) {
      this.#isStale = true;
      this.#loop('disk', () => this.#lookAtDisk(), DISK_EVERY_MS);
    }
    const end = await ended;
    this.#programs.delete(exec);
    return this.#explain(exec, end);
  }

  /** The workspace is over its limit, and there is only a watcher to say so. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Throws when nothing more may be written. */
  refuseWriting(path: string): void {
    if (!this.#isOver) return;
    throw new FileError(
      'DISK_FULL',
      `The workspace is over its limit and has no room for ${JSON.stringify(path)}; remove files, or give the session a larger diskMb.`,
    );
  }

  /** Undefined when it was not looked at yet. */
  async diskUse(): Promise<DiskUse | undefined> {
    if (this.#isWatched) return this.#lastLook;
    const { diskBytes, inodes } = await kernelDiskUse(this.options.path);
    return { diskBytes, inodes };
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.options.meter.close();
    await Promise.all(this.#loops.values());
  }

  get #isWatched(): boolean {
    return this.options.disk.kind === 'watcher';
  }

  #loop(name: string, look: () => Promise<boolean>, everyMs: number): void {
    if (this.#loops.has(name) || this.#stop.signal.aborted) return;
    this.#loops.set(name, this.#lookAgainAndAgain(name, look, everyMs));
  }

  async #lookAgainAndAgain(name: string, look: () => Promise<boolean>, everyMs: number): Promise<void> {
    const { signal } = this.#stop;
    let tookMs = 0;
    while (!signal.aborted) {
      await sleep(Math.max(everyMs, PATIENCE * tookMs), undefined, { signal, ref: false }).catch(() => {});
      if (signal.aborted) return;
      const startedAt = performance.now();
      try {
        const isDone = !(await look());
        if (isDone && this.#programs.size === 0) {
          // In the same breath, so that a program which comes now starts another.
          this.#loops.delete(name);
          return;
        }
      } catch (error) {
        if (!signal.aborted) this.options.failed(error);
      }
      tookMs = performance.now() - startedAt;
    }
  }

  /** False when there is nothing more to look at. */
  async #lookAtMemory(): Promise<boolean> {
    const { memoryBytes } = this.options.limits;
    let total = 0;
    let biggest: { exec: ProgramExec; usedBytes: number } | undefined;
    for (const exec of this.#programs) {
      const usedBytes = await exec.memoryUsed(Math.min(memoryBytes, exec.memoryBytes ?? memoryBytes));
      total += usedBytes;
      if (exec.memoryBytes !== undefined && usedBytes > exec.memoryBytes) {
        exec.exceed('outOfMemory', { peakBytes: usedBytes });
      } else if (!biggest || usedBytes > biggest.usedBytes) biggest = { exec, usedBytes };
    }
    if (total > memoryBytes) biggest?.exec.exceed('outOfMemory', { peakBytes: total });
    return this.#programs.size > 0;
  }

  /** Programs of one network share its sockets: nobody knows whose a connection is that none has accepted. */
  async #lookAtSockets(): Promise<boolean> {
    const { limits, hasCgroup } = this.options;
    const networks = new Map<number, ProgramExec[]>();
    for (const exec of this.#programs) {
      if (!exec.group) continue;
      const most = (exec.memoryBytes ?? limits.memoryBytes) * SOCKETS_SHARE;
      const peakBytes = exec.group.socketBytes();
      if (peakBytes > most) exec.exceed('outOfMemory', { peakBytes });
      const { agentPid } = exec.group;
      networks.set(agentPid, [...(networks.get(agentPid) ?? []), exec]);
    }
    for (const [agentPid, programs] of networks) {
      const peakBytes = await uncountedSocketBytes(agentPid, { all: !hasCgroup });
      if (peakBytes <= limits.memoryBytes * SOCKETS_SHARE) continue;
      for (const exec of programs) exec.exceed('outOfMemory', { peakBytes });
    }
    return this.#programs.size > 0;
  }

  async #lookAtDisk(): Promise<boolean> {
    if (this.#programs.size === 0 && !this.#isStale) {
      await this.options.meter.close();
      return false;
    }
    this.#isStale = this.#programs.size > 0;
    const { diskBytes, maxInodes } = this.options.limits;
    const use = await this.options.meter.measure();
    const before = this.#lastLook;
    const hasGrown = !before || use.diskBytes > before.diskBytes || use.inodes > before.inodes;
    this.#lastLook = use;
    this.#isOver = use.diskBytes > diskBytes || use.inodes > maxInodes;
    // One that is over already may be made smaller by a program, and read.
    if (this.#isOver && hasGrown) {
      for (const exec of this.#programs) {
        exec.exceed('diskLimit', { peakBytes: use.diskBytes, peakFiles: use.inodes });
      }
    }
    return true;
  }

  async #explain(exec: ProgramExec, end: ExecEnd): Promise<ExecEnd> {
    const explained = await this.#explainByDisk(exec, end);
    const { how, limit } = explained;
    // Whoever touches memory of a full /dev/shm gets a SIGBUS.
    const hasNoSpace = how.kind === 'exited' ? how.exitCode !== 0 && exec.saidNoSpace : isBusError(how);
    if (limit || !hasNoSpace || this.#isOver) return explained;
    return { ...explained, temporarySpace: temporarySpace(this.options.limits.memoryBytes) };
  }

  /** A program that failed and left a full workspace met its limit, as far as anybody can know. */
  async #explainByDisk(exec: ProgramExec, end: ExecEnd): Promise<ExecEnd> {
    const { how } = end;
    if (end.limit || this.#isWatched || how.kind !== 'exited' || how.exitCode === 0) return end;
    const use = await kernelDiskUse(this.options.path).catch(() => null);
    const enoughBytes = exec.saidNoSpace ? LARGEST_REFUSED_BYTES : FULL_BYTES;
    if (!use || (use.freeBytes >= enoughBytes && use.freeInodes > 0)) return end;
    return { ...end, limit: 'diskLimit', reached: { peakBytes: use.diskBytes, peakFiles: use.inodes } };
  }
}

const isBusError = (how: ExecEnd['how']) => how.kind === 'signaled' && how.signal === 'SIGBUS';
