// One control group: the same place in every hierarchy it needs (one in v2, several in v1). What is alike in both
// versions lives here: making it, moving processes in, freezing, killing until it is empty, removing.
import { mkdirSync, readdirSync, rmdirSync } from 'node:fs';
import { mkdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isCode, readKernelFile, readNumber, tell } from './kernel-file.js';

const EMPTY_WITHIN_MS = 30_000;
const FROZEN_WITHIN_MS = 2_000;

/**
 * Moves of ours that are under way, in any group. A move waits some 10 ms for a grace period of RCU and holds the one lock
 * of all groups meanwhile; nothing else holds it for long. So directories are made and removed in place while nobody
 * moves, and by a thread, at twice the price, while somebody does.
 */
let moves = 0;

async function move(pid: number, path: string): Promise<void> {
  moves += 1;
  try {
    await tell(join(path, 'cgroup.procs'), pid);
  } catch (error) {
    // One that has ended meanwhile needs no limit.
    if (!isCode(error, 'ESRCH')) throw error;
  } finally {
    moves -= 1;
  }
}

export async function makeGroup(path: string): Promise<void> {
  if (moves === 0) mkdirSync(path);
  else await mkdir(path);
}

export async function removeGroup(path: string): Promise<void> {
  if (moves === 0) rmdirSync(path);
  else await rmdir(path);
}

/** Our names are internal ids; anything that could be a path or a file of the kernel's is a mistake of ours. */
export function groupName(prefix: string, id: string): string {
  if (!/^[A-Za-z0-9_-]{1,100}$/.test(id))
    throw new Error(`not a name for a control group: ${JSON.stringify(id)}`);
  return `${prefix}-${id}`;
}

export interface GroupPaths {
  /** One directory per hierarchy. */
  readonly all: readonly string[];
  /** The one in the v2 hierarchy, with `cgroup.freeze` and `cgroup.kill`. */
  readonly unified: string | null;
  /** The one of the v1 freezer, used where there is no v2 hierarchy. */
  readonly freezer: string | null;
}

export class Group {
  constructor(readonly paths: GroupPaths) {}

  /** Makes the directories. What an earlier run left under the same name is emptied and replaced. */
  async make(): Promise<void> {
    try {
      for (const path of this.paths.all) await makeGroup(path);
    } catch (error) {
      if (!isCode(error, 'EEXIST')) throw error;
      await this.kill();
      await this.remove();
      for (const path of this.paths.all) await makeGroup(path);
    }
  }

  /** Moves processes in. */
  async adopt(pids: readonly number[]): Promise<void> {
    for (const pid of pids) for (const path of this.paths.all) await move(pid, path);
  }

  /** Members here and in groups below. */
  processes(): number[] {
    return membersBelow(this.#counting);
  }

  /** Members here, and not in a group below. */
  ownProcesses(): number[] {
    return readPids(this.#counting);
  }

  async freeze(): Promise<boolean> {
    const { unified, freezer } = this.paths;
    const isFrozen = unified
      ? () => readNumber(join(unified, 'cgroup.events'), 'frozen') === 1
      : freezer
        ? () => readKernelFile(join(freezer, 'freezer.state'))?.trim() === 'FROZEN'
        : null;
    if (isFrozen === null) return false;
    try {
      await this.#setFrozen(true);
      if (await until(isFrozen, FROZEN_WITHIN_MS)) return true;
    } catch {
      // A kernel without the file, or a group that is just going: not frozen.
    }
    await this.thaw();
    return false;
  }

  async thaw(): Promise<void> {
    await this.#setFrozen(false).catch((error: unknown) => {
      if (!isCode(error, 'ENOENT')) throw error;
    });
  }

  /** Kills every member and resolves when none is left. */
  async kill(): Promise<void> {
    const emptied = await until(async () => {
      const pids = this.#everywhere();
      if (pids.length > 0) await this.#killOnce(pids);
      return pids.length === 0;
    }, EMPTY_WITHIN_MS);
    if (!emptied) {
      const left = this.#everywhere();
      throw new Error(`processes ${left.join(', ')} are still there ${EMPTY_WITHIN_MS} ms after SIGKILL`);
    }
  }

  /** Removes the directories and those below. The kernel says EBUSY until the last member is really gone. */
  async remove(): Promise<void> {
    for (const path of this.paths.all) await removeTree(path);
  }

  /** Where members are read: each is in all of the hierarchies, or is on its way there. */
  get #counting(): string {
    return this.paths.unified ?? this.paths.all[0]!;
  }

  /** Members in any of the hierarchies: a move that was cut short may have reached only some. */
  #everywhere(): number[] {
    return [...new Set(this.paths.all.flatMap(membersBelow))];
  }

  async #killOnce(seen: readonly number[]): Promise<void> {
    const { unified } = this.paths;
    // The v1 freezer keeps signals from being delivered, so it is thawed before any wait for the end.
    if (unified && (await succeeds(tell(join(unified, 'cgroup.kill'), 1)))) {
      await this.thaw();
      return;
    }
    // Frozen, nothing forks away while it is signalled, and no pid can be used anew.
    const pids = (await this.freeze()) ? this.#everywhere() : seen;
    for (const pid of pids) killIfThere(pid);
    await this.thaw();
  }

  async #setFrozen(frozen: boolean): Promise<void> {
    const { unified, freezer } = this.paths;
    if (unified) await tell(join(unified, 'cgroup.freeze'), frozen ? 1 : 0);
    else if (freezer) await tell(join(freezer, 'freezer.state'), frozen ? 'FROZEN' : 'THAWED');
  }
}

/** Asks again and again, first often and then more rarely, until the answer is yes or the time is over. */
export async function until(isSo: () => boolean | Promise<boolean>, withinMs: number): Promise<boolean> {
  const giveUpAt = performance.now() + withinMs;
  for (let pauseMs = 1; ; pauseMs = Math.min(pauseMs * 2, 50)) {
    if (await isSo()) return true;
    if (performance.now() >= giveUpAt) return false;
    await sleep(pauseMs);
  }
}

/** Names of the groups directly below. */
export function groupsBelow(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
  } catch (error) {
    if (isCode(error, 'ENOENT')) return [];
    throw error;
  }
}

export async function removeTree(path: string): Promise<void> {
  let busy: unknown;
  const removed = await until(async () => {
    try {
      await removeGroup(path);
      return true;
    } catch (error) {
      if (isCode(error, 'ENOENT')) return true;
      if (!isCode(error, 'EBUSY')) throw error;
      busy = error;
    }
    for (const name of groupsBelow(path)) await removeTree(join(path, name));
    return false;
  }, EMPTY_WITHIN_MS);
  if (!removed) throw busy;
}

export function readPids(path: string): number[] {
  const text = readKernelFile(join(path, 'cgroup.procs')) ?? '';
  // 0 stands for a process that our pid namespace does not show.
  return text
    .split('\n')
    .map(Number)
    .filter((pid) => pid > 0);
}

function membersBelow(path: string): number[] {
  return [...readPids(path), ...groupsBelow(path).flatMap((name) => membersBelow(join(path, name)))];
}

/** Processor time of all that is or was in a group of the v2 hierarchy; counted there without a controller, too. */
export function cpuMsOf(path: string): number | null {
  const microseconds = readNumber(join(path, 'cpu.stat'), 'usage_usec');
  return microseconds === null ? null : Math.round(microseconds / 1000);
}

export function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!isCode(error, 'ESRCH')) throw error;
  }
}

const succeeds = (promise: Promise<unknown>) =>
  promise.then(
    () => true,
    () => false,
  );
