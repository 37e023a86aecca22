// What holds a sandbox to its limits: cgroup v2, cgroup v1, or rlimits with a watcher where neither may be used.
import type { SandboxLimits, SandboxUsage } from '../sandbox.js';

/**
 * Where processors are short, all sandboxes together weigh this much of what the service does (v2), or of one of its threads
 * (v1): whoever asks, cancels or watches is answered, whatever is run. Where nothing else wants them, sandboxes get them
 * whole (docs/decisions/0014).
 */
export const SANDBOXES_CPU_WEIGHT = 0.25;

/** Makes limit groups on this host; found once at start. */
export interface Limiter {
  readonly kind: 'v2' | 'v1' | null;
  /** Where it is null: what keeps each version from being used. */
  readonly against?: Readonly<Record<string, string>>;
  /** Makes the group of one sandbox; it exists until `remove`. */
  create(id: string, limits: SandboxLimits): Promise<LimitGroup>;
  /** Removes groups of an earlier run whose ids are not kept; kills what is in them. */
  sweep(keepIds: ReadonlySet<string>): Promise<void>;
  close(): Promise<void>;
}

export interface LimitGroup {
  /** Moves host pids in. They must be the caller's own children, or members of this group by `processes()`. */
  adopt(pids: readonly number[]): Promise<void>;
  /** A child group for one program, so that its out-of-memory end does not take the sandbox with it. */
  child(name: string, memoryBytes?: number): Promise<ChildGroup>;
  /** Host pids of all members, child groups included. Null where there is no cgroup. */
  processes(): number[] | null;
  /** The same without those in child groups. */
  ownProcesses(): number[] | null;
  usage(): Promise<SandboxUsage>;
  /** True when the kernel froze them all; false where it cannot (use signals then). */
  freeze(): Promise<boolean>;
  thaw(): Promise<void>;
  /** Kills every member (thaws first) and resolves when none is left. */
  kill(): Promise<void>;
  remove(): Promise<void>;
}

export interface ChildGroup {
  /** The keeper waits for the others in the sandbox's own group: it is no process of the program. */
  adopt(pids: readonly number[], keeper?: number): Promise<void>;
  /** Changes the memory limit of this child, for a task that asked for less than its sandbox has. */
  limitMemory(memoryBytes: number): Promise<void>;
  processes(): number[] | null;
  /** Memory of all members now; where it is added up, exact only when it is more than `bytes`. */
  memoryUsed(bytes: number): Promise<number>;
  /** Memory in socket buffers, where it is counted and does not count towards the limit (v1). */
  socketBytes(): number;
  /** More than 0 when the kernel killed for memory in here; v2 counts a process twice. */
  oomKills(): number;
  usage(): Promise<{ cpuMs?: number; peakMemoryBytes?: number }>;
  kill(): Promise<void>;
  remove(): Promise<void>;
}
