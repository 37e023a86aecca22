// One control group: the same place in every hierarchy it needs (one in v2, several in v1). What is alike in both
// versions lives here: making it, moving processes in, freezing, killing until it is empty, removing.
import { constants } from 'node:fs';
import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const EMPTY_WITHIN_MS = 30_000;
const FROZEN_WITHIN_MS = 2_000;

/** Writes to a file of the kernel's: it must exist, and one write is one command. */
export async function tell(path: string, value: string | number): Promise<void> {
  await writeFile(path, String(value), { flag: constants.O_WRONLY });
}

/** One number out of a file: its whole content, or the line that starts with `key`. Null when either is not there. */
export async function readNumber(path: string, key?: string): Promise<number | null> {
  const text = await readFile(path, 'utf8').catch(() => null);
  const line = key === undefined ? text : text?.split('\n').find((each) => each.startsWith(`${key} `));
  const number = Number(line?.slice(key === undefined ? 0 : key.length).trim() || Number.NaN);
  return Number.isFinite(number) ? number : null;
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
      for (const path of this.paths.all) await mkdir(path);
    } catch (error) {
      if (!isCode(error, 'EEXIST')) throw error;
      await this.kill();
      await this.remove();
      for (const path of this.paths.all) await mkdir(path);
    }
  }

  /** Moves processes in. One that has ended meanwhile needs no limit. */
  async adopt(pids: readonly number[]): Promise<void> {
    for (const pid of pids) {
      for (const path of this.paths.all) {
        await tell(join(path, 'cgroup.procs'), pid).catch((error: unknown) => {
          if (!isCode(error, 'ESRCH')) throw error;
        });
      }
    }
  }

  /** Members here and in groups below. */
  processes(): Promise<number[]> {
    return membersBelow(this.paths.unified ?? this.paths.all[0]!);
  }

  async freeze(): Promise<boolean> {
    const { unified, freezer } = this.paths;
    const isFrozen = unified
      ? async () => (await readNumber(join(unified, 'cgroup.events'), 'frozen')) === 1
      : freezer
        ? async () => (await readFile(join(freezer, 'freezer.state'), 'utf8')).trim() === 'FROZEN'
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
      const pids = await this.#everywhere();
      if (pids.length > 0) await this.#killOnce(pids);
      return pids.length === 0;
    }, EMPTY_WITHIN_MS);
    if (!emptied) {
      const left = await this.#everywhere();
      throw new Error(`processes ${left.join(', ')} are still there ${EMPTY_WITHIN_MS} ms after SIGKILL`);
    }
  }

  /** Removes the directories and those below. The kernel says EBUSY until the last member is really gone. */
  async remove(): Promise<void> {
    for (const path of this.paths.all) await removeTree(path);
  }

  /** Members in any of the hierarchies: a move that was cut short may have reached only some. */
  async #everywhere(): Promise<number[]> {
    return [...new Set((await Promise.all(this.paths.all.map(membersBelow))).flat())];
  }

  async #killOnce(seen: readonly number[]): Promise<void> {
    const { unified } = this.paths;
    // The v1 freezer keeps signals from being delivered, so it is thawed before any wait for the end.
    if (unified && (await succeeds(tell(join(unified, 'cgroup.kill'), 1)))) {
      await this.thaw();
      return;
    }
    // Frozen, nothing forks away while it is signalled, and no pid can be used anew.
    const pids = (await this.freeze()) ? await this.#everywhere() : seen;
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
export async function until(isSo: () => Promise<boolean>, withinMs: number): Promise<boolean> {
  const giveUpAt = performance.now() + withinMs;
  for (let pauseMs = 1; ; pauseMs = Math.min(pauseMs * 2, 50)) {
    if (await isSo()) return true;
    if (performance.now() >= giveUpAt) return false;
    await sleep(pauseMs);
  }
}

/** Names of the groups directly below. */
export async function groupsBelow(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch((error: unknown) => {
    if (isCode(error, 'ENOENT')) return [];
    throw error;
  });
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
}

export async function removeTree(path: string): Promise<void> {
  for (const name of await groupsBelow(path)) await removeTree(join(path, name));
  let busy: unknown;
  const removed = await until(async () => {
    try {
      await rmdir(path);
      return true;
    } catch (error) {
      if (isCode(error, 'ENOENT')) return true;
      if (!isCode(error, 'EBUSY')) throw error;
      busy = error;
      return false;
    }
  }, EMPTY_WITHIN_MS);
  if (!removed) throw busy;
}

export async function readPids(path: string): Promise<number[]> {
  const text = await readFile(join(path, 'cgroup.procs'), 'utf8').catch((error: unknown) => {
    if (isCode(error, 'ENOENT') || isCode(error, 'ENODEV')) return '';
    throw error;
  });
  // 0 stands for a process that our pid namespace does not show.
  return text
    .split('\n')
    .map(Number)
    .filter((pid) => pid > 0);
}

async function membersBelow(path: string): Promise<number[]> {
  const [pids, below] = await Promise.all([readPids(path), groupsBelow(path)]);
  return [pids, ...(await Promise.all(below.map((name) => membersBelow(join(path, name)))))].flat();
}

export function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
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
