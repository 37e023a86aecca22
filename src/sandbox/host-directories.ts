// Directories on the host that sandboxes are made from: what their uids have to reach, in places where they can.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import {
  chmod,
  copyFile,
  lstat,
  mkdir,
  readdir,
  readFile,
  realpath,
  rm,
  rmdir,
  stat,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Undo } from '../lib/undo.js';
import { INSIDE_LIBRARY, VISIBLE_HOST_PATHS } from './bubblewrap.js';
import { fillEtc } from './etc.js';

const PYTHON_SOURCES = fileURLToPath(new URL('./python/', import.meta.url));

/** Who is known inside; programs there run as `uid`. */
export function accounts(uid: number): { readonly passwd: string; readonly group: string } {
  return {
    passwd: `root:x:0:0:root:/root:/usr/sbin/nologin\nsandbox:x:${uid}:${uid}:sandbox:/workspace:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n`,
    group: `root:x:0:\nsandbox:x:${uid}:\nnogroup:x:65534:\n`,
  };
}

/** The small /etc inside: without it `localhost`, getpass.getuser() and pwd fail. */
const ETC_FILES: Readonly<Record<string, string>> = {
  ...accounts(1000),
  hosts: '127.0.0.1 localhost sandbox\n::1 localhost\n',
  'nsswitch.conf': 'passwd: files\ngroup: files\nhosts: files dns\n',
};

export interface HostDirectoriesOptions {
  readonly isRoot: boolean;
  readonly filter: Buffer;
  /** More of the host's /etc that sandboxes see, by names below it. */
  readonly etc?: readonly string[];
}

export class HostDirectories {
  readonly #undo = new Undo();

  private constructor(
    /** Bound inside: the Python sources, the seccomp filter and `etc/`. */
    readonly library: string,
    readonly workspaces: string,
    /** Bound inside at /run/pip. */
    readonly pip: string,
    /** The same by its own path: what is written there must not outlive a mount of ours. */
    readonly pipAtHome: string,
    /** Sockets; short, since the kernel takes 108 bytes at most. */
    readonly sockets: string,
  ) {}

  /** `isRoot`: sandboxes have uids of their own, which must be able to pass on the way to their workspaces. */
  static async open(dataDir: string, options: HostDirectoriesOptions): Promise<HostDirectories> {
    const instance = await instanceOf(dataDir);
    const data = await realpath(dataDir);
    refuseIfVisible('DATA_DIR', data);
    refuseIfVisible('The directory of the service’s own code', await realpath(PYTHON_SOURCES));

    const kept = join(data, 'sandboxes');
    for (const path of [kept, join(kept, 'workspaces')]) await makeDirectory(path, 0o711);
    await makeDirectory(join(kept, 'pip'), 0o755);

    const runtime = runtimeDirectory(instance, options.isRoot);
    await clear(runtime);
    await makeDirectory(runtime, 0o711);
    const undo = new Undo();
    undo.push('runtime directory', () => clear(runtime));
    try {
      const reachable = options.isRoot ? await makeReachable(kept, join(runtime, 'sandboxes')) : kept;
      const library = join(runtime, 'library');
      await fillLibrary(library, options);
      const sockets = join(runtime, 'egress');
      await makeDirectory(sockets, 0o711);
      const directories = new HostDirectories(
        library,
        join(reachable, 'workspaces'),
        join(reachable, 'pip'),
        join(kept, 'pip'),
        sockets,
      );
      directories.#undo.push('directories', () => undo.run());
      return directories;
    } catch (error) {
      await undo.run();
      throw error;
    }
  }

  /** Compiles the Python sources in the library, which would be half of a sandbox's start. */
  async compileLibrary(python: string): Promise<void> {
    await run(python, ['-I', '-S', '-c', COMPILE, this.library, INSIDE_LIBRARY]);
  }

  /** Takes away what is only of this run. Workspaces stay. */
  close(): Promise<void> {
    return this.#undo.run();
  }
}

function refuseIfVisible(what: string, path: string): void {
  const visible = VISIBLE_HOST_PATHS.find((each) => path === each || path.startsWith(`${each}/`));
  if (visible === undefined) return;
  throw new Error(
    `${what} (${path}) lies below ${visible}, which every sandbox can read. Move it elsewhere, e.g. below /opt or /var/lib.`,
  );
}

/** One short name for each DATA_DIR, so that what a killed service left is found again by its next run. */
export async function instanceOf(dataDir: string): Promise<string> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  return createHash('sha256')
    .update(await realpath(dataDir))
    .digest('hex')
    .slice(0, 12);
}

function runtimeDirectory(instance: string, isRoot: boolean): string {
  if (isRoot) return `/run/codegen-worker-${instance}`;
  return join(process.env.XDG_RUNTIME_DIR || tmpdir(), `codegen-worker-${process.getuid?.()}-${instance}`);
}

async function clear(runtime: string): Promise<void> {
  const found = await lstat(runtime).catch(() => null);
  if (!found) return;
  if (!found.isDirectory() || found.uid !== process.getuid?.()) {
    throw new Error(`${runtime} is not a directory of ours; remove it`);
  }
  const mountPoint = join(runtime, 'sandboxes');
  const mounts = await readFile('/proc/self/mountinfo', 'utf8');
  if (mounts.includes(` ${mountPoint} `)) await run('umount', ['--lazy', mountPoint]);
  // Never recursively: if it were still mounted, the workspaces would be in there.
  await rmdir(mountPoint).catch(ignoreMissing);
  for (const name of ['library', 'egress', 'oci'])
    await rm(join(runtime, name), { recursive: true, force: true });
  await rmdir(runtime);
}

/** `path` itself when strangers can pass on the way there, else a bind mount of it in a place where they can. */
async function makeReachable(path: string, mountPoint: string): Promise<string> {
  if (await isReachable(path)) return path;
  await makeDirectory(mountPoint, 0o711);
  try {
    await run('mount', ['--bind', path, mountPoint]);
  } catch (cause) {
    throw new Error(
      `sandboxes cannot reach ${path}, and it could not be bind-mounted at ${mountPoint}; let everybody pass DATA_DIR and the directories above it (chmod o+x), or give the service CAP_SYS_ADMIN, with which it mounts them where they can be reached`,
      { cause },
    );
  }
  return mountPoint;
}

async function isReachable(path: string): Promise<boolean> {
  for (let each = path; ; each = dirname(each)) {
    if (((await stat(each)).mode & constants.S_IXOTH) === 0) return false;
    if (each === dirname(each)) return true;
  }
}

async function fillLibrary(library: string, { filter, etc }: HostDirectoriesOptions): Promise<void> {
  await makeDirectory(library, 0o755);
  await fillEtc(join(library, 'etc'), ETC_FILES, VISIBLE_HOST_PATHS, etc ?? []);
  await writeReadable(join(library, 'filter.bpf'), filter);
  for (const name of await readdir(PYTHON_SOURCES)) {
    if (!name.endsWith('.py')) continue;
    await copyFile(join(PYTHON_SOURCES, name), join(library, name));
    await chmod(join(library, name), 0o644);
  }
}

async function writeReadable(path: string, content: string | Buffer): Promise<void> {
  await writeFile(path, content);
  await chmod(path, 0o644);
}

/** Exactly this mode, whatever the umask. */
async function makeDirectory(path: string, mode: number): Promise<void> {
  await mkdir(path, { recursive: true });
  await chmod(path, mode);
}

const run = promisify(execFile);

/** A script is never taken from the cache of bytecode, so the agent's is made under a name of its own. */
const COMPILE = `
import os, py_compile, sys
os.umask(0o022)
library, shown = sys.argv[1:]
for name in os.listdir(library):
    if name.endswith(".py"):
        options = dict(dfile=f"{shown}/{name}", doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
        py_compile.compile(f"{library}/{name}", **options)
        if name == "agent.py":
            py_compile.compile(f"{library}/{name}", cfile=f"{library}/agent.pyc", **options)
`;

const ignoreMissing = (error: NodeJS.ErrnoException) => {
  if (error.code !== 'ENOENT') throw error;
};
