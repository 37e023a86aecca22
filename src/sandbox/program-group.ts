// The limits of one program: the group of its processes, and of the keeper that waits on them.
import type { ChildGroup, LimitGroup } from './limits/limits.js';
import { descendants, keeperAndMain } from './members.js';

export class ProgramGroup {
  private constructor(
    private readonly group: ChildGroup,
    private readonly keeper: number | undefined,
  ) {}

  /** For a process that waits for its program in the sandbox of `parent`; `keeperPid` is what the agent calls its keeper. */
  static async create(
    parent: LimitGroup,
    name: string,
    keeperPid: number,
    sandbox: { readonly launchedPid: number; readonly uid: number; readonly nested: boolean },
  ): Promise<ProgramGroup> {
    const [group, members] = await Promise.all([
      parent.child(name),
      parent.processes().then((pids) => pids ?? descendants(sandbox.launchedPid)),
    ]);
    const found = await keeperAndMain(members, keeperPid, sandbox);
    await group.adopt(found);
    return new ProgramGroup(group, found[0]);
  }

  /** How many processes there are, apart from the keeper, as far as the kernel counts them for us. */
  async members(): Promise<number> {
    const pids = (await this.group.processes()) ?? [];
    return pids.filter((pid) => pid !== this.keeper).length;
  }

  limitMemory(bytes: number): Promise<void> {
    return this.group.limitMemory(bytes);
  }

  oomKills(): Promise<number> {
    return this.group.oomKills();
  }

  usage(): Promise<{ cpuMs?: number; peakMemoryBytes?: number }> {
    return this.group.usage();
  }

  memoryUsed(bytes: number): Promise<number> {
    return this.group.memoryUsed(bytes);
  }

  kill(): Promise<void> {
    return this.group.kill();
  }

  /** Resolves when the keeper has left, too. */
  remove(): Promise<void> {
    return this.group.remove();
  }
}
