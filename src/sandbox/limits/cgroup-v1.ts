// Limits by cgroup v1: one directory per controller. Freezing and killing go through the v2 hierarchy where the host
// has one beside v1 ("hybrid"), since only that one kills a whole group at once.
import { access, constants, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { SandboxLimits } from '../sandbox.js';
import { cpuMsOf, Group, groupName, groupsBelow, removeTree } from './group.js';
import { isCode, readKernelFile, readNumber, tell } from './kernel-file.js';
import { type ChildGroup, type Limiter, type LimitGroup, SANDBOXES_CPU_WEIGHT } from './limits.js';
import type { CgroupPlace } from './place.js';

const CPU_PERIOD_US = 100_000;
/** What the buffers of TCP and UDP sockets may hold, of the memory limit and beside it: v1 counts them apart. A program that
 *  would hold more finds them full, and is not ended. */
const SOCKETS_SHARE = 0.25;
/** Of every process and every group, unless told otherwise. */
const DEFAULT_CPU_SHARES = 1024;
/** What a sandbox is held to, in its own group. */
const SANDBOX_CONTROLLERS = ['memory', 'pids', 'cpu', 'cpuacct', 'freezer'];
/** What is counted of one program, in a group below; its processes count towards the sandbox's all the same. */
const PROGRAM_CONTROLLERS = ['memory', 'cpuacct', 'freezer'];

/** Takes this host's v1 hierarchies in use, or throws what stands against it. */
export async function openCgroupV1(place: CgroupPlace, base: string): Promise<Limiter> {
  for (const needed of ['memory', 'pids']) {
    const directory = place.controllers.get(needed);
    if (directory === undefined) throw new Error(`there is no v1 controller ${needed}`);
    await access(directory, constants.W_OK);
  }
  const roots = new Map<string, string>();
  for (const controller of SANDBOX_CONTROLLERS) {
    const directory = place.controllers.get(controller);
    if (directory !== undefined) roots.set(controller, join(directory, base));
  }
  const unified = place.unified && (await isWritable(place.unified)) ? join(place.unified, base) : null;
  if (unified) {
    await makeIfMissing(unified);
    // It does all of this by itself: a hierarchy less is a directory and a move less for every program.
    roots.delete('freezer');
    if (readKernelFile(join(unified, 'cpu.stat')) !== null) roots.delete('cpuacct');
  }
  // cpu and cpuacct are often one hierarchy under two names.
  const directories = new Set([...roots.values(), ...(unified ? [unified] : [])]);
  for (const directory of directories) await makeIfMissing(directory);
  const cpu = roots.get('cpu');
  if (cpu !== undefined) await tell(join(cpu, 'cpu.shares'), DEFAULT_CPU_SHARES * SANDBOXES_CPU_WEIGHT);
  return new CgroupV1(roots, unified, directories);
}

class CgroupV1 implements Limiter {
  readonly kind = 'v1';

  constructor(
    private readonly roots: ReadonlyMap<string, string>,
    private readonly unified: string | null,
    private readonly directories: ReadonlySet<string>,
  ) {}

  async create(id: string, limits: SandboxLimits): Promise<LimitGroup> {
    const group = new V1Group(this.roots, this.unified, groupName('sandbox', id));
    await group.make(limits);
    return group;
  }

  async sweep(keepIds: ReadonlySet<string>): Promise<void> {
    const keep = new Set([...keepIds].map((id) => groupName('sandbox', id)));
    const found = new Set<string>();
    for (const directory of this.directories) for (const name of groupsBelow(directory)) found.add(name);
    for (const name of found) {
      if (keep.has(name)) continue;
      const group = new V1Group(this.roots, this.unified, name);
      await group.kill();
      await group.remove();
    }
  }

  async close(): Promise<void> {
    await this.sweep(new Set());
    for (const directory of this.directories) await removeTree(directory);
  }
}

/** What a sandbox's group and a program's group have in common. */
class V1Members {
  protected readonly group: Group;
  private readonly paths: ReadonlyMap<string, string>;

  constructor(
    roots: ReadonlyMap<string, string>,
    readonly unified: string | null,
    name: string,
    controllers: readonly string[],
  ) {
    const paths = new Map<string, string>();
    for (const controller of controllers) {
      const root = roots.get(controller);
      if (root !== undefined) paths.set(controller, join(root, name));
    }
    this.paths = paths;
    this.unified = unified && join(unified, name);
    this.group = new Group({
      all: [...new Set([...paths.values(), ...(this.unified ? [this.unified] : [])])],
      unified: this.unified,
      freezer: paths.get('freezer') ?? null,
    });
  }

  adopt(pids: readonly number[]): Promise<void> {
    return this.group.adopt(pids);
  }

  kill(): Promise<void> {
    return this.group.kill();
  }

  remove(): Promise<void> {
    return this.group.remove();
  }

  /** Null where the host lacks the controller. */
  protected file(controller: string, name: string): string | null {
    const path = this.paths.get(controller);
    return path === undefined ? null : join(path, name);
  }

  protected number(controller: string, name: string, key?: string): number | undefined {
    const file = this.file(controller, name);
    return (file === null ? null : readNumber(file, key)) ?? undefined;
  }

  protected cpuMs(): number | undefined {
    const nanoseconds = this.number('cpuacct', 'cpuacct.usage');
    if (nanoseconds !== undefined) return Math.round(nanoseconds / 1e6);
    return this.unified === null ? undefined : (cpuMsOf(this.unified) ?? undefined);
  }

  async limitMemory(bytes: number): Promise<void> {
    await this.limitSockets(Math.floor(bytes * SOCKETS_SHARE));
    const memory = this.file('memory', 'memory.limit_in_bytes')!;
    // Memory with swap; missing where the kernel does not count swap.
    const withSwap = this.file('memory', 'memory.memsw.limit_in_bytes')!;
    const limitSwap = () => tell(withSwap, bytes).catch(ignoreMissing);
    try {
      await tell(memory, bytes);
      await limitSwap();
    } catch (error) {
      // It may never be below the limit without swap: on the way up it has to go first.
      if (!isCode(error, 'EINVAL')) throw error;
      await limitSwap();
      await tell(memory, bytes);
    }
  }

  /** Null sets no limit. The kernel counts only for groups in which one was written. */
  protected async limitSockets(bytes: number | null): Promise<void> {
    await tell(this.file('memory', 'memory.kmem.tcp.limit_in_bytes')!, bytes ?? -1).catch(ignoreMissing);
  }

  get memberPaths(): ReadonlyMap<string, string> {
    return this.paths;
  }
}

class V1Group extends V1Members implements LimitGroup {
  constructor(roots: ReadonlyMap<string, string>, unified: string | null, name: string) {
    super(roots, unified, name, SANDBOX_CONTROLLERS);
  }

  async make(limits: SandboxLimits): Promise<void> {
    await this.group.make();
    try {
      // Kernels before 5.11 count groups below only when told so.
      await tell(this.file('memory', 'memory.use_hierarchy')!, 1).catch(ignoreMissing);
      await this.limitMemory(limits.memoryBytes);
      await tell(this.file('pids', 'pids.max')!, limits.maxProcesses);
      const period = this.file('cpu', 'cpu.cfs_period_us');
      const quota = this.file('cpu', 'cpu.cfs_quota_us');
      if (period && quota) {
        await tell(period, CPU_PERIOD_US);
        await tell(quota, Math.round((limits.cpuPercent * CPU_PERIOD_US) / 100));
      }
    } catch (error) {
      await this.group.remove();
      throw error;
    }
  }

  async child(name: string, memoryBytes?: number): Promise<ChildGroup> {
    const child = new V1Program(this.memberPaths, this.unified, groupName('program', name));
    await child.make(memoryBytes);
    return child;
  }

  async usage() {
    const used = this.number('memory', 'memory.usage_in_bytes');
    const inSockets = this.number('memory', 'memory.kmem.tcp.usage_in_bytes') ?? 0;
    // Page cache that the kernel drops first is no use of the sandbox's.
    const reclaimable = this.number('memory', 'memory.stat', 'total_inactive_file') ?? 0;
    const [cpuMs, processes] = [this.cpuMs(), this.number('pids', 'pids.current')];
    return {
      ...(used === undefined ? {} : { memoryBytes: Math.max(0, used - reclaimable) + inSockets }),
      ...(cpuMs === undefined ? {} : { cpuMs }),
      ...(processes === undefined ? {} : { processes }),
    };
  }

  processes(): number[] {
    return this.group.processes();
  }

  ownProcesses(): number[] {
    return this.group.ownProcesses();
  }

  freeze(): Promise<boolean> {
    return this.group.freeze();
  }

  thaw(): Promise<void> {
    return this.group.thaw();
  }
}

class V1Program extends V1Members implements ChildGroup {
  constructor(parent: ReadonlyMap<string, string>, unified: string | null, name: string) {
    super(parent, unified, name, PROGRAM_CONTROLLERS);
  }

  async make(memoryBytes?: number): Promise<void> {
    await this.group.make();
    // Without one of its own, that of the sandbox holds.
    if (memoryBytes === undefined) await this.limitSockets(null);
    else await this.limitMemory(memoryBytes);
  }

  processes(): number[] {
    return this.group.ownProcesses();
  }

  async memoryUsed(): Promise<number> {
    return (this.number('memory', 'memory.usage_in_bytes') ?? 0) + this.socketBytes();
  }

  socketBytes(): number {
    return this.number('memory', 'memory.kmem.tcp.usage_in_bytes') ?? 0;
  }

  oomKills(): number {
    return this.number('memory', 'memory.oom_control', 'oom_kill') ?? 0;
  }

  async usage() {
    const [cpuMs, peakMemoryBytes] = [this.cpuMs(), this.number('memory', 'memory.max_usage_in_bytes')];
    return {
      ...(cpuMs === undefined ? {} : { cpuMs }),
      ...(peakMemoryBytes === undefined ? {} : { peakMemoryBytes }),
    };
  }
}

async function makeIfMissing(directory: string): Promise<void> {
  await mkdir(directory).catch((error: unknown) => {
    if (!isCode(error, 'EEXIST')) throw error;
  });
}

const isWritable = (directory: string) =>
  access(directory, constants.W_OK).then(
    () => true,
    () => false,
  );

function ignoreMissing(error: unknown): void {
  // The kernel's files cannot be created, so a missing one is refused in either of these ways.
  if (!isCode(error, 'ENOENT') && !isCode(error, 'EACCES')) throw error;
}
