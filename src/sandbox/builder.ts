// A program that builds sandboxes, and the ways in which it can, strongest first. Which of them hold on this host the
// probe finds out; what runs inside does not care.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { type Advice, adviseOnFailure, type HostTraits } from './host-advice.js';
import { BubblewrapLauncher, type Launcher } from './launch.js';
import type { IsolationLevel } from './sandbox.js';

/** One way to build sandboxes, and the level it is worth when everything it promises holds. */
export interface Way {
  readonly level: IsolationLevel;
  readonly launcher: Launcher;
  /** Programs get namespaces of their own inside a lasting sandbox; else each gets a sandbox of its own. */
  readonly nested: boolean;
  /** A sandbox has a user namespace of its own, or it is made by root without one. */
  readonly userNamespace: boolean;
  /** For people. */
  readonly words: string;
}

export interface Builder {
  readonly name: string;
  readonly ways: readonly Way[];
  /** Its version; or what is the matter with it. */
  check(): Promise<{ readonly version: string | null; readonly problem?: Advice }>;
  /** What to do when a sandbox could not be built; `said` is why. */
  advise(said: string, traits: HostTraits): Advice;
}

const LEAST_BUBBLEWRAP = [0, 8, 0];

/** `isRoot`: root of the host, who needs no user namespace to make others. */
export function bubblewrapBuilder(path: string, { isRoot }: { readonly isRoot: boolean }): Builder {
  const way = (
    level: IsolationLevel,
    words: string,
    { nested = false, userNamespace = true, proc = true } = {},
  ): Way => {
    const launcher = new BubblewrapLauncher(path, { userNamespace, proc });
    return { level, words, nested, userNamespace, launcher };
  };
  const noUserns = way(
    'rootNoUserns',
    'every program gets a sandbox of its own, made by root without a user namespace',
    { userNamespace: false },
  );
  return {
    name: 'bubblewrap',
    ways: [
      way('full', 'every program gets namespaces of its own inside the sandbox of its session', {
        nested: true,
      }),
      way('oneshot', 'every program gets a sandbox of its own'),
      ...(isRoot ? [noUserns] : []),
      way('noProc', 'every program gets a sandbox of its own, with an empty /proc', { proc: false }),
    ],
    check: () => checkBubblewrap(path),
    advise: adviseOnFailure,
  };
}

async function checkBubblewrap(path: string): ReturnType<Builder['check']> {
  const found = await promisify(execFile)(path, ['--version']).then(
    ({ stdout }) => /(\d+)\.(\d+)(?:\.(\d+))?/.exec(stdout),
    () => null,
  );
  const version = found?.[0] ?? null;
  if (found && isAtLeast(found.slice(1).map(Number), LEAST_BUBBLEWRAP)) return { version };
  return {
    version,
    problem: {
      what: version ? `bubblewrap ${version} is older than 0.8` : 'bubblewrap is not installed',
      fix: 'Run: apt-get install bubblewrap (Debian 12, Ubuntu 23.04 and later have 0.8 or newer).',
    },
  };
}

function isAtLeast(version: readonly number[], least: readonly number[]): boolean {
  const differing = least.findIndex((number, index) => (version[index] || 0) !== number);
  return differing === -1 || (version[differing] || 0) > least[differing]!;
}
