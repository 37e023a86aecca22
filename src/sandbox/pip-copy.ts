// pip for all sandboxes: Debian's wheel, unpacked once, read-only inside. Starting it from the wheel itself would take
// half a second longer each time.
import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readdir, readlink, rename, rm, symlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';

const WHEELS = '/usr/share/python-wheels';
const run = promisify(execFile);

/** Has `directory/current` lead to an unpacked pip. Costs a second the first time and nothing afterwards. */
export async function unpackPip(directory: string, python: string, signal: AbortSignal): Promise<void> {
  const wheel = (await readdir(WHEELS).catch(() => []))
    .filter((name) => /^pip-.*\.whl$/.test(name))
    .sort()
    .at(-1);
  if (wheel === undefined) {
    throw new Error(`there is no pip wheel in ${WHEELS}; install it with: apt-get install python3-pip-whl`);
  }
  const name = basename(wheel, '.whl');
  const current = join(directory, 'current');
  if ((await readlink(current).catch(() => null)) === name) return;
  for (const leftover of await readdir(directory)) {
    if (leftover.startsWith('.new-')) await rm(join(directory, leftover), { recursive: true });
  }
  const aside = await mkdtemp(join(directory, '.new-'));
  try {
    const unpacked = join(aside, name);
    await run(python, ['-I', '-S', '-c', UNPACK, join(WHEELS, wheel), unpacked, String(process.pid)], {
      signal,
    });
    await chmod(unpacked, 0o755);
    await rm(join(directory, name), { recursive: true, force: true });
    await rename(unpacked, join(directory, name));
    await symlink(name, join(aside, 'current'));
    await rename(join(aside, 'current'), current);
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}

const PR_SET_PDEATHSIG = 1;

/** Importing what an installation uses leaves its bytecode beside it. Nobody waits yet, so others go first; and when
 *  the service is killed, nobody goes on writing where its next run cleans up. */
const UNPACK = `
import ctypes, os, signal, sys, zipfile
wheel, folder, service = sys.argv[1:]
ctypes.CDLL(None).prctl(${PR_SET_PDEATHSIG}, signal.SIGKILL)
if os.getppid() != int(service):
    sys.exit("the service is gone")
os.umask(0o022)
os.nice(10)
zipfile.ZipFile(wheel).extractall(folder)
sys.path.insert(0, folder)
import pip._internal.cli.main, pip._internal.commands.install, pip._internal.commands.list
import pip._internal.operations.prepare, pip._internal.resolution.resolvelib.resolver
`;
