// The limits of one program: the group of its processes, without the keeper that waits on them.
import { setImmediate as othersFirst } from 'node:timers/promises';
import type { ChildGroup, LimitGroup } from './limits/limits.js';
import { descendants, keeperAndMain } from './members.js';

export class ProgramGroup {
  private constructor(
    private readonly group: ChildGroup,
    /** On the host: a process in the network of the program. */
    readonly agentPid: number,
  ) {}

  /** For a process that waits for its program in the sandbox of `parent`; `keeperPid` is what the agent calls its keeper. */
  static async create(
    parent: LimitGroup,
    name: string,
    keeperPid: number,
    sandbox: { readonly agentPid: number; readonly uid: number; readonly nested: boolean },
  ): Promise<ProgramGroup> {
    const group = await parent.child(name);
    const members = parent.ownProcesses() ?? descendants(sandbox.agentPid);
    const kept = keeperAndMain(members, keeperPid, sandbox);
    if (kept) await group.adopt([kept.main], kept.keeper);
    return new ProgramGroup(group, sandbox.agentPid);
  }

  /** How many processes there are, as far as the kernel counts them for us. */
  members(): number {
    return this.group.processes()?.length ?? 0;
  }

  limitMemory(bytes: number): Promise<void> {
    return this.group.limitMemory(bytes);
  }

  socketBytes(): number {
    return this.group.socketBytes();
  }

  oomKills(): number {
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

  /** In a moment: whoever waits to tell the end of the program goes first. */
  async remove(): Promise<void> {
    await othersFirst();
    await this.group.remove();
  }
}
