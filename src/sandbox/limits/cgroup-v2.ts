// Limits by cgroup v2, as root or below a group that was delegated to us (systemd's Delegate=yes). In v2 a group that
// hands controllers down holds no processes itself, so the service moves into a leaf of its own group, and the
// processes of a sandbox that belong to no program live in a leaf of the sandbox's.
import { mkdir, readFile, rmdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { SandboxLimits } from '../sandbox.js';
import { cpuMsOf, Group, groupName, groupsBelow, readPids, removeTree } from './group.js';
import { isCode, readNumber, tell } from './kernel-file.js';
import { type ChildGroup, type Limiter, type LimitGroup, SANDBOXES_CPU_WEIGHT } from './limits.js';
import type { CgroupPlace } from './place.js';

const CPU_PERIOD_US = 100_000;
/** Of every group, unless told otherwise. */
const DEFAULT_CPU_WEIGHT = 100;
const SERVICE_LEAF = 'codegen-worker-service';
const SANDBOX_LEAF = 'agent';

/** Takes this host's v2 hierarchy in use, or throws what stands against it. */
export async function openCgroupV2(place: CgroupPlace, base: string): Promise<Limiter> {
  if (place.unified === null) throw new Error('no cgroup v2 hierarchy is mounted');
  // Started from a shell that an earlier run of ours moved along: the group above is the one that was ours.
  const own = basename(place.unified) === SERVICE_LEAF ? dirname(place.unified) : place.unified;
  const available = (await readFile(join(own, 'cgroup.controllers'), 'utf8')).trim().split(' ');
  for (const needed of ['memory', 'pids']) {
    if (!available.includes(needed))
      throw new Error(`the v2 controller ${needed} is not available in ${own}`);
  }
  const controllers = ['memory', 'pids', 'cpu'].filter((name) => available.includes(name));
  await handDown(own, controllers);
  const root = join(own, base);
  await mkdir(root).catch((error: unknown) => {
    if (!isCode(error, 'EEXIST')) throw error;
  });
  await tell(join(root, 'cgroup.subtree_control'), plus(controllers));
  if (controllers.includes('cpu'))
    await tell(join(root, 'cpu.weight'), DEFAULT_CPU_WEIGHT * SANDBOXES_CPU_WEIGHT);
  return new CgroupV2(own, root, controllers);
}

const plus = (controllers: readonly string[]) => controllers.map((name) => `+${name}`).join(' ');
const minus = (controllers: readonly string[]) => controllers.map((name) => `-${name}`).join(' ');

/** Lets groups below `own` be limited; when processes are in the way, ours among them, they move into a leaf. */
async function handDown(own: string, controllers: readonly string[]): Promise<void> {
  const control = join(own, 'cgroup.subtree_control');
  for (let attempt = 1; ; attempt += 1) {
    try {
      await tell(control, plus(controllers));
      return;
    } catch (error) {
      // Busy: processes are in it, or were forked into it while we moved the others.
      if (!isCode(error, 'EBUSY') || attempt > 10) throw error;
    }
    const leaf = join(own, SERVICE_LEAF);
    await mkdir(leaf).catch((error: unknown) => {
      if (!isCode(error, 'EEXIST')) throw error;
    });
    await move(own, leaf);
  }
}

async function move(from: string, to: string): Promise<void> {
  await new Group({ all: [to], unified: to, freezer: null }).adopt(readPids(from));
}

class CgroupV2 implements Limiter {
  readonly kind = 'v2';

  constructor(
    private readonly own: string,
    private readonly root: string,
    private readonly controllers: readonly string[],
  ) {}

  async create(id: string, limits: SandboxLimits): Promise<LimitGroup> {
    const group = new V2Group(join(this.root, groupName('sandbox', id)));
    await group.make(limits, this.controllers.includes('cpu'));
    return group;
  }

  async sweep(keepIds: ReadonlySet<string>): Promise<void> {
    const keep = new Set([...keepIds].map((id) => groupName('sandbox', id)));
    for (const name of groupsBelow(this.root)) {
      if (keep.has(name)) continue;
      const group = new V2Group(join(this.root, name));
      await group.kill();
      await group.remove();
    }
  }

  async close(): Promise<void> {
    await this.sweep(new Set());
    await removeTree(this.root);
    const below = groupsBelow(this.own);
    const shared = below.some((name) => name.startsWith('codegen-worker-') && name !== SERVICE_LEAF);
    if (shared || !below.includes(SERVICE_LEAF)) return;
    await tell(join(this.own, 'cgroup.subtree_control'), minus(this.controllers));
    await move(join(this.own, SERVICE_LEAF), this.own);
    await rmdir(join(this.own, SERVICE_LEAF));
  }
}

class V2Group implements LimitGroup {
  readonly #group: Group;
  readonly #leaf: Group;

  constructor(private readonly path: string) {
    this.#group = new Group({ all: [path], unified: path, freezer: null });
    const leaf = join(path, SANDBOX_LEAF);
    this.#leaf = new Group({ all: [leaf], unified: leaf, freezer: null });
  }

  async make(limits: SandboxLimits, limitCpu: boolean): Promise<void> {
    await this.#group.make();
    try {
      await tell(join(this.path, 'memory.max'), limits.memoryBytes);
      await noSwap(this.path);
      await tell(join(this.path, 'pids.max'), limits.maxProcesses);
      if (limitCpu) {
        const quotaUs = Math.round((limits.cpuPercent * CPU_PERIOD_US) / 100);
        await tell(join(this.path, 'cpu.max'), `${quotaUs} ${CPU_PERIOD_US}`);
      }
      await tell(join(this.path, 'cgroup.subtree_control'), '+memory');
      await this.#leaf.make();
    } catch (error) {
      await this.#group.remove();
      throw error;
    }
  }

  adopt(pids: readonly number[]): Promise<void> {
    return this.#leaf.adopt(pids);
  }

  async child(name: string, memoryBytes?: number): Promise<ChildGroup> {
    const child = new V2Program(join(this.path, groupName('program', name)));
    await child.make(memoryBytes);
    return child;
  }

  processes(): number[] {
    return this.#group.processes();
  }

  ownProcesses(): number[] {
    return this.#leaf.ownProcesses();
  }

  async usage() {
    const used = readNumber(join(this.path, 'memory.current'));
    // Page cache that the kernel drops first is no use of the sandbox's.
    const reclaimable = readNumber(join(this.path, 'memory.stat'), 'inactive_file') ?? 0;
    const [cpuMs, processes] = [cpuMsOf(this.path), readNumber(join(this.path, 'pids.current'))];
    return {
      ...(used === null ? {} : { memoryBytes: Math.max(0, used - reclaimable) }),
      ...(cpuMs === null ? {} : { cpuMs }),
      ...(processes === null ? {} : { processes }),
    };
  }

  freeze(): Promise<boolean> {
    return this.#group.freeze();
  }

  thaw(): Promise<void> {
    return this.#group.thaw();
  }

  kill(): Promise<void> {
    return this.#group.kill();
  }

  remove(): Promise<void> {
    return this.#group.remove();
  }
}

class V2Program implements ChildGroup {
  readonly #group: Group;

  constructor(private readonly path: string) {
    this.#group = new Group({ all: [path], unified: path, freezer: null });
  }

  async make(memoryBytes?: number): Promise<void> {
    await this.#group.make();
    // Out of memory ends the whole program, never half of it; also when it is the sandbox's limit that was met.
    await tell(join(this.path, 'memory.oom.group'), 1);
    if (memoryBytes !== undefined) await this.limitMemory(memoryBytes);
  }

  adopt(pids: readonly number[]): Promise<void> {
    return this.#group.adopt(pids);
  }

  async limitMemory(memoryBytes: number): Promise<void> {
    await tell(join(this.path, 'memory.max'), memoryBytes);
  }

  processes(): number[] {
    return this.#group.ownProcesses();
  }

  async memoryUsed(): Promise<number> {
    return readNumber(join(this.path, 'memory.current')) ?? 0;
  }

  socketBytes(): number {
    return 0;
  }

  oomKills(): number {
    return readNumber(join(this.path, 'memory.events'), 'oom_kill') ?? 0;
  }

  async usage() {
    const [cpuMs, peakMemoryBytes] = [cpuMsOf(this.path), readNumber(join(this.path, 'memory.peak'))];
    return {
      ...(cpuMs === null ? {} : { cpuMs }),
      ...(peakMemoryBytes === null ? {} : { peakMemoryBytes }),
    };
  }

  kill(): Promise<void> {
    return this.#group.kill();
  }

  remove(): Promise<void> {
    return this.#group.remove();
  }
}

/** A kernel that does not count swap has no such file. */
async function noSwap(path: string): Promise<void> {
  await tell(join(path, 'memory.swap.max'), 0).catch((error: unknown) => {
    if (!isCode(error, 'ENOENT') && !isCode(error, 'EACCES')) throw error;
  });
}
