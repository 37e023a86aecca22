// Starts sandboxes with an OCI runtime (runc, crun, runsc), for sites that require one, or want gVisor. The same agent
// runs as the container's process and speaks the same frames over its standard input and output.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { settledWithin } from '../lib/settled-within.js';
import { INSIDE_LIBRARY, VISIBLE_HOST_PATHS } from './bubblewrap.js';
import type { Builder, Way } from './builder.js';
import type { Advice } from './host-advice.js';
import { accounts } from './host-directories.js';
import {
  END_WITHIN_MS,
  endOf,
  inTime,
  type Launch,
  type Launched,
  type Launcher,
  LaunchFailed,
  Running,
  tailOf,
} from './launch.js';
import { ociConfig, ROOT_DIRECTORIES, ROOT_FILES, ROOT_LINKS } from './oci-config.js';
import { type IsolationLevel, SandboxStartTimedOut } from './sandbox.js';

const run = promisify(execFile);
const LOOK_EVERY_MS = 5;
const PYTHON = '/usr/bin/python3';

export interface OciRuntime {
  readonly path: string;
  /** Before the runtime's own command, e.g. `--platform=kvm`. */
  readonly args: readonly string[];
}

export function ociBuilder(runtime: OciRuntime, { isRoot }: { readonly isRoot: boolean }): Builder {
  const way = (level: IsolationLevel, words: string, userNamespace: boolean): Way => {
    const launcher = new OciLauncher(runtime, userNamespace);
    return { level, words, nested: false, userNamespace, launcher };
  };
  return {
    name: 'ociRuntime',
    ways: [
      way('oneshot', 'every program gets a container of its own', true),
      way('rootNoUserns', 'every program gets a container of its own, without a user namespace', false),
    ],
    check: () => checkRuntime(runtime, isRoot),
    advise: (said) => adviseOnRuntime(runtime, said),
  };
}

function adviseOnRuntime({ path }: OciRuntime, said: string): Advice {
  if (/cgroups in hybrid mode not supported/.test(said)) {
    return {
      what: `${path} refuses hosts that have cgroup v1 and v2 beside each other`,
      fix: 'Set OCI_RUNTIME to runc, or start the host with cgroup v2 only (systemd.unified_cgroup_hierarchy=1).',
    };
  }
  return {
    what: `${path} could not start a container (${said.trim().split('\n').at(-1)?.slice(0, 300)})`,
    fix: 'Correct what it says, or set SANDBOX_DRIVER=bubblewrap.',
  };
}

async function checkRuntime({ path }: OciRuntime, isRoot: boolean): ReturnType<Builder['check']> {
  const version = await run(path, ['--version']).then(
    ({ stdout }) => stdout.split('\n', 1)[0]!.trim(),
    () => null,
  );
  if (version === null) {
    const fix = 'Install it (apt-get install runc), or set OCI_RUNTIME to its path.';
    return { version, problem: { what: `the OCI runtime ${path} could not be run`, fix } };
  }
  if (isRoot) return { version };
  const what = 'an OCI runtime gives each session a uid of its own, which only root can';
  return {
    version,
    problem: { what, fix: 'Start the service as root, or set SANDBOX_DRIVER=bubblewrap.' },
  };
}

export class OciLauncher implements Launcher {
  constructor(
    private readonly runtime: OciRuntime,
    private readonly userNamespace: boolean,
  ) {}

  async launch({ policy, seccomp, uid, adopt, startWithinMs, signal }: Launch): Promise<Launched> {
    if (uid === null) throw new LaunchFailed('an OCI runtime needs a uid for what runs inside');
    // Its control groups are named so, too, beside those of everybody else on the host.
    const id = `codegen-worker-${randomUUID()}`;
    const base = join(dirname(policy.library), 'oci');
    const bundle = join(base, id);
    const command = [PYTHON, '-I', '-S', `${INSIDE_LIBRARY}/enter.py`, ...policy.command];
    try {
      const visible = VISIBLE_HOST_PATHS.filter((path) => existsSync(path));
      const root = await makeRoot(base);
      await makeDirectory(bundle);
      const etc = this.userNamespace ? join(policy.library, 'etc') : join(bundle, 'etc');
      if (!this.userNamespace) await writeEtc(etc, join(policy.library, 'etc'), uid);
      const { userNamespace } = this;
      const config = ociConfig({
        ...{ policy: { ...policy, command }, root, etc, uid, userNamespace, visible },
        cgroupsPath: `/${id}`,
      });
      await writeFile(join(bundle, 'config.json'), JSON.stringify(config));
    } catch (cause) {
      await rm(bundle, { recursive: true, force: true });
      throw new LaunchFailed(`the bundle for ${id} could not be written: ${String(cause)}`, { cause });
    }
    return this.#run(id, base, bundle, { seccomp, adopt, startWithinMs, signal });
  }

  async #run(
    id: string,
    base: string,
    bundle: string,
    { seccomp, adopt, startWithinMs, signal }: Omit<Launch, 'policy' | 'uid'>,
  ): Promise<Launched> {
    const { path, args } = this.runtime;
    const globals = ['--root', join(base, 'state'), ...args];
    const pidFile = join(bundle, 'pid');
    const child = spawn(path, [...globals, 'run', '--bundle', bundle, '--pid-file', pidFile, id], {
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
      cwd: '/',
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    for (const pipe of child.stdio) pipe?.on('error', () => {});
    const stderr = tailOf(child.stderr);
    const ended = endOf(child, stderr).then(async (end) => {
      // A runtime that was killed has not taken its container away.
      if (end.signal !== null) await run(path, [...globals, 'delete', '--force', id]).catch(() => {});
      await rm(bundle, { recursive: true, force: true });
      return end;
    });
    if (child.pid === undefined) throw new LaunchFailed(`could not start ${path}: ${(await ended).stderr}`);
    const sandbox = new Running(child as ChildProcess & { pid: number }, ended);
    try {
      const { pid } = child;
      sandbox.innerPid = await inTime(pidFrom(pidFile, ended), { startWithinMs, signal, pid });
      await adopt([sandbox.innerPid]);
      const length = Buffer.alloc(4);
      length.writeUInt32BE(seccomp?.length ?? 0);
      child.stdin.write(length);
      if (seccomp) child.stdin.write(seccomp);
      return sandbox as Launched;
    } catch (cause) {
      sandbox.kill();
      await settledWithin(ended, END_WITHIN_MS);
      signal?.throwIfAborted();
      if (cause instanceof SandboxStartTimedOut) throw cause;
      throw new LaunchFailed(`${path}: ${stderr().trim() || String(cause)}`, { cause });
    }
  }
}

/** One for all containers, since nothing is ever written to it. */
async function makeRoot(base: string): Promise<string> {
  const root = join(base, 'root');
  for (const name of ['', ...ROOT_DIRECTORIES]) await makeDirectory(join(root, name));
  // runc gives a tmpfs the mode of the directory it covers, whatever is asked for.
  await chmod(join(root, 'tmp'), 0o1777);
  for (const name of ROOT_FILES) await writeFile(join(root, name), '', { mode: 0o644 });
  for (const name of ROOT_LINKS) await symlink(`usr/${name}`, join(root, name)).catch(ignoreExisting);
  return root;
}

/** The library's, but for who programs are. */
async function writeEtc(etc: string, library: string, uid: number): Promise<void> {
  await makeDirectory(etc);
  for (const name of ['hosts', 'nsswitch.conf']) await copyFile(join(library, name), join(etc, name));
  for (const [name, text] of Object.entries(accounts(uid))) await writeFile(join(etc, name), text);
}

/** The runtime writes it when the container's process is there; that one waits for us. */
async function pidFrom(pidFile: string, ended: Promise<unknown>): Promise<number> {
  let isOver = false;
  void ended.then(() => {
    isOver = true;
  });
  while (!isOver) {
    const pid = Number(await readFile(pidFile, 'utf8').catch(() => ''));
    if (pid > 0) return pid;
    await sleep(LOOK_EVERY_MS);
  }
  throw new Error('it did not say the pid of the container');
}

async function makeDirectory(path: string): Promise<void> {
  await mkdir(path, { recursive: true });
  await chmod(path, 0o755);
}

const ignoreExisting = (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EEXIST') throw error;
};
