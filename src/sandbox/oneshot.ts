// Sandboxes that live for one program of our own: walking, filling and deleting a workspace.
import type { Readable, Writable } from 'node:stream';
import { INSIDE_LIBRARY } from './bubblewrap.js';
import type { Launched } from './launch.js';
import type { LimitGroup } from './limits/limits.js';
import type { SandboxHost } from './sandbox-host.js';
import type { Workspace } from './workspace.js';

/** One program in a sandbox of its own. */
export interface OneShot {
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** Resolves, never rejects, when its sandbox is gone. `stderr` is its last 64 KiB. */
  readonly ended: Promise<{
    readonly code: number | null;
    readonly signal: string | null;
    readonly stderr: string;
  }>;
  kill(): void;
}

export interface OneShotProgram {
  readonly script: 'tree.py';
  readonly args: readonly string[];
  readonly workspace: 'read' | 'write' | 'none';
  /** Passes over permissions inside its own user namespace, for trees with entries that nobody may read. */
  readonly overrideOwner: boolean;
}

export type SpawnOneShot = (program: OneShotProgram) => Promise<OneShot>;

/** Starts it; `adopt` puts it under limits. */
export function launchOneShot(
  host: SandboxHost,
  workspace: Workspace,
  program: OneShotProgram,
  adopt: (pids: readonly number[]) => Promise<void>,
): Promise<Launched> {
  const writes = program.workspace === 'write';
  if (program.workspace !== 'none') workspace.makeUsable();
  return host.launcher.launch({
    seccomp: host.closedFilter,
    uid: workspace.uid,
    adopt,
    startWithinMs: host.startWithinMs,
    policy: {
      library: host.directories.library,
      workspace: program.workspace === 'none' ? null : { source: workspace.path, writable: writes },
      capabilities: program.overrideOwner ? [...READ_ALL, ...(writes ? CHANGE_ALL : [])] : [],
      env: { PATH: '/usr/bin:/bin', LANG: 'C.UTF-8' },
      command: [host.python.path, '-I', '-S', `${INSIDE_LIBRARY}/${program.script}`, ...program.args],
    },
  });
}

/** Starts it in a group of its own, which goes with it. */
export async function launchInGroup(
  host: SandboxHost,
  workspace: Workspace,
  program: OneShotProgram,
  group: LimitGroup,
): Promise<Launched> {
  try {
    const launched = await launchOneShot(host, workspace, program, (pids) => group.adopt(pids));
    launched.ended
      .then(() => group.remove())
      .catch((err: unknown) =>
        host.log.error({ workspace: workspace.path, err }, 'helper group not removed'),
      );
    return endedByKill(launched);
  } catch (error) {
    await group.remove();
    throw error;
  }
}

/** A child of Node has ended only when its output was read to the end. Whoever kills a helper reads no further, and the
 *  one who read it may have gone away or stand still: what is left of the output is dropped, so that `ended` follows. */
function endedByKill(launched: Launched): Launched {
  const { pid, innerPid, stdin, stdout, ended } = launched;
  stdout.on('error', () => {});
  const kill = () => {
    launched.kill();
    stdout.destroy();
  };
  return { pid, innerPid, stdin, stdout, ended, kill };
}

const READ_ALL = ['CAP_DAC_OVERRIDE', 'CAP_DAC_READ_SEARCH'];
const CHANGE_ALL = ['CAP_FOWNER'];
