// Ways to run a program of ours on another kind of host than this one: as an ordinary user, or with another bubblewrap
// than the real one. Each is the beginning of a command line, in a mount namespace of its own, so that it leaves nothing.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
/** Every Debian has these places, and nothing in them: where an ordinary user finds our code, wherever the checkout
 *  is, and where the real bubblewrap is when another is laid over it. */
const SHOWN_AT = '/mnt';
const TOOLS_AT = '/srv';
/** Of nobody on any host we know. */
export const ORDINARY_UID = 59_999;
const BUBBLEWRAP = '/usr/bin/bwrap';

export interface Host {
  /** What stands before the command. It becomes the command: the pid stays. */
  readonly prefix: readonly string[];
  /** Where the checkout is there. */
  readonly root: string;
}

export const THIS_HOST: Host = { prefix: [], root: ROOT };

/** Reason why the others cannot be had, for `skip`. */
export const noOtherHosts = process.getuid?.() === 0 ? false : 'needs root';

/** The same host for a user without privileges. */
export function userHost(host: Host): Host {
  const drop = `exec setpriv --reuid ${ORDINARY_UID} --regid ${ORDINARY_UID} --clear-groups "$@"`;
  const show = `mount --bind "$1" ${SHOWN_AT}; shift; ${drop}`;
  return { prefix: [...host.prefix, ...inOwnMounts(show, ROOT)], root: SHOWN_AT };
}

/** `wrapper` is a Python program that stands where bubblewrap is; it finds the real one at sys.argv[1]. */
export async function hostWithBubblewrap(t: Test, wrapper: string): Promise<Host> {
  const directory = await mkdtemp(join(tmpdir(), 'codegen-worker-bwrap-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  await writeFile(join(directory, 'wrapper.py'), wrapper);
  const start = `#!/bin/sh\nexec /usr/bin/python3 -I -S ${TOOLS_AT}/wrapper.py ${TOOLS_AT}/real "$@"\n`;
  await writeFile(join(directory, 'bwrap'), start);
  const cover = [
    `mount -t tmpfs -o mode=755 none ${TOOLS_AT}`,
    `mkdir -m 1777 ${TOOLS_AT}/tmp; touch ${TOOLS_AT}/tmp/of-another`,
    `cp ${BUBBLEWRAP} ${TOOLS_AT}/real`,
    `cp "$1/wrapper.py" "$1/bwrap" ${TOOLS_AT}`,
    `chmod 755 ${TOOLS_AT}/real ${TOOLS_AT}/bwrap ${TOOLS_AT}/wrapper.py`,
    `mount --bind ${TOOLS_AT}/bwrap ${BUBBLEWRAP}`,
    'shift; exec "$@"',
  ];
  return { prefix: inOwnMounts(cover.join('; '), directory), root: ROOT };
}

function inOwnMounts(script: string, ...args: string[]): string[] {
  return ['unshare', '--mount', '--propagation', 'private', 'sh', '-ec', script, 'sh', ...args];
}
