// Makes sandboxes with bubblewrap on this host: finds what the host can do, keeps what all sandboxes share, and finds
// workspaces of an earlier run again.
import { execFile } from 'node:child_process';
import { readdir, readFile, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { IsolationUnavailable } from '../errors.js';
import { newId } from '../lib/ids.js';
import { KeptPromise } from '../lib/kept-promise.js';
import { Undo } from '../lib/undo.js';
import type { Logger } from '../observability/logger.js';
import { BubblewrapSandbox } from './bubblewrap-sandbox.js';
import type { Builder } from './builder.js';
import { bubblewrap } from './builders.js';
import { EGRESS_LIMITS, type EgressLimits } from './egress-budget.js';
import { HostDirectories, instanceOf } from './host-directories.js';
import { unwrittenBytes, type WorkspaceDisk } from './limits/disk.js';
import { findLimiter } from './limits/find.js';
import { findDiskLimiter } from './limits/find-disk.js';
import type { Limiter } from './limits/limits.js';
import { unpackPip } from './pip-copy.js';
import { probeIsolation, withLimits } from './probe.js';
import {
  type DiskLimitSetting,
  type IsolationLevel,
  type IsolationReport,
  type Sandbox,
  type SandboxDriver,
  type SandboxLimits,
  type SandboxSpec,
  WorkspaceGone,
} from './sandbox.js';
import type { SandboxHost } from './sandbox-host.js';
import { seccompFilter } from './seccomp.js';
import { SpareSandboxes } from './spare-sandboxes.js';
import { Starts } from './starts.js';
import { type HostAccounts, idsOfOthers, isHostRoot, UidPool, type UidRange } from './uids.js';
import { Workspace, workspacesBelow } from './workspace.js';

export interface BubblewrapDriverOptions {
  readonly dataDir: string;
  readonly log: Logger;
  /** Below this level nothing runs. */
  readonly minimum: IsolationLevel;
  /** What builds the sandboxes. Default: bubblewrap. */
  readonly builder?: (host: { readonly isRoot: boolean }) => Builder;
  /** Stronger levels are not tried. Default: `full`. */
  readonly maximum?: IsolationLevel;
  /** As root: host uids for sandboxes. */
  readonly uids: UidRange;
  readonly agentIdleMs: number;
  /** A start that takes longer is given up. Default: a minute. */
  readonly startWithinMs?: number;
  /** What stands ready once `keepSpares` is called. Default: nothing. */
  readonly spares?: { readonly most: number; readonly limits: SandboxLimits };
  /** How workspaces are held to their size. Default: the strongest way that works here. */
  readonly diskLimit?: DiskLimitSetting;
  /** Default: the strongest that this host allows. */
  readonly limiter?: Limiter;
  /** `host:port` that the service itself listens on: no sandbox may reach them, whatever its policy says. */
  readonly ownAddresses?: () => readonly string[];
  /** More of the host's /etc that sandboxes see. */
  readonly etc?: readonly string[];
  /** Of each sandbox. */
  readonly egressLimits?: Partial<EgressLimits>;
}

const PYTHON = '/usr/bin/python3';

export class BubblewrapDriver implements SandboxDriver {
  readonly #options: BubblewrapDriverOptions;
  readonly #undo = new Undo();
  readonly #sandboxes = new Map<string, BubblewrapSandbox>();
  #uids: UidPool | null = null;
  #spares: SpareSandboxes | undefined;
  #host: SandboxHost | undefined;
  #isolation: IsolationReport | undefined;
  #starting: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: BubblewrapDriverOptions) {
    this.#options = options;
  }

  start(): Promise<void> {
    this.#starting ??= this.#start();
    return this.#starting;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  get isolation(): IsolationReport {
    if (!this.#isolation) throw new Error('the driver has not started');
    return this.#isolation;
  }

  async create(spec: SandboxSpec): Promise<Sandbox> {
    const host = this.#hostOrRefusal();
    while (this.#uids?.isUsedUp && (await this.#spares?.giveUp()));
    return this.#make(host, spec);
  }

  takeSpare(limits: SandboxLimits): BubblewrapSandbox | null {
    return this.#spares?.take(limits) ?? null;
  }

  /** Sandboxes that wait for their turn to start. */
  get startsWaiting(): number {
    return this.#host?.starts.waiting ?? 0;
  }

  get spareCount(): number {
    return this.#spares?.count ?? 0;
  }

  keepSpares(): void {
    const { agentIdleMs, log, spares } = this.#options;
    const host = this.#host;
    if (!host || !spares || spares.most === 0 || this.#spares) return;
    this.#spares = new SpareSandboxes({
      ...spares,
      quietMs: agentIdleMs,
      hasRoom: () => !this.#uids?.isUsedUp && process.availableMemory() >= spares.limits.memoryBytes,
      make: () => this.#make(host, { ...NOBODYS, id: newId('ses'), limits: spares.limits }),
      log,
    });
    void this.#spares.fill();
  }

  async #make(host: SandboxHost, spec: SandboxSpec): Promise<BubblewrapSandbox> {
    const uid = this.#uids?.take() ?? null;
    const workspace = this.#workspace(host, spec.id, uid);
    const undo = new Undo();
    if (uid !== null) undo.push('uid', () => this.#uids?.free(uid));
    try {
      undo.push('directory', () => rm(workspace.directory, { recursive: true, force: true }));
      workspace.create();
      const disk = await host.disks.create(workspace, spec.limits);
      undo.push('disk', () => disk.discard());
      workspace.fill(host.python.version);
      return this.#add(host, spec, workspace, disk);
    } catch (error) {
      await undo.run();
      throw error;
    }
  }

  unwrittenBytes(): Promise<number> {
    return unwrittenBytes([...this.#sandboxes.values()].map(({ disk }) => disk));
  }

  async attach(spec: SandboxSpec, uid: number | null): Promise<Sandbox> {
    const host = this.#hostOrRefusal();
    const workspace = this.#workspace(host, spec.id, uid);
    if (!workspace.exists()) throw new WorkspaceGone(`the workspace of ${spec.id} is gone`);
    if (this.#uids !== null && uid === 0) throw new Error(`the workspace of ${spec.id} belongs to root`);
    if (uid !== null) this.#uids?.claim(uid);
    await killAllIn(workspace);
    return this.#add(host, spec, workspace, await host.disks.attach(workspace, spec.limits));
  }

  async sweep(keepIds: ReadonlySet<string>): Promise<void> {
    const host = this.#hostOrRefusal();
    await host.limiter.sweep(keepIds);
    for (const { id, uid } of await workspacesBelow(host.directories.workspaces)) {
      if (keepIds.has(id) || this.#sandboxes.has(id)) continue;
      try {
        await this.#sweepOne(host, id, uid);
      } catch (error) {
        // What is in the way here is no reason to serve nobody; the next start tries again.
        this.#options.log.warn({ err: error, id }, 'a workspace of an earlier run could not be removed');
      }
    }
  }

  async discard(id: string): Promise<void> {
    const host = this.#hostOrRefusal();
    const found = (await workspacesBelow(host.directories.workspaces)).find((each) => each.id === id);
    if (found) await this.#sweepOne(host, id, found.uid);
  }

  async #sweepOne(host: SandboxHost, id: string, uid: number | null): Promise<void> {
    // Still root's: the service was killed before it gave it away, so that nobody has written there.
    const isOurs = this.#uids !== null && uid === 0;
    // Without its workspace directory there is nothing inside that anybody could own.
    const sandbox = isOurs ? null : await this.attach({ ...SWEPT, id }, this.#uids && uid).catch(() => null);
    if (sandbox) return sandbox.remove();
    const workspace = this.#workspace(host, id, null);
    await host.disks.scrap(workspace);
    workspace.removeEmpty();
  }

  async #start(): Promise<void> {
    const { dataDir, log, minimum, maximum } = this.#options;
    try {
      const uidMap = await readFile('/proc/self/uid_map', 'utf8');
      const isRoot = isHostRoot(process.getuid?.() ?? -1, uidMap);
      if (isRoot) {
        const { uids } = this.#options;
        this.#uids = new UidPool(uids, idsOfOthers(await hostAccounts(), uids));
      }

      const filter = seccompFilter(process.arch, { sockets: true });
      const limiter = this.#options.limiter ?? (await findLimiter(log, await instanceOf(dataDir)));
      this.#undo.push('limits', () => limiter.close());
      const builder = (this.#options.builder ?? bubblewrap)({ isRoot });
      // Beside the probe: both wait for other processes most of the time.
      const [opening, version] = [this.#openDirectories({ isRoot, filter }), pythonVersion()];
      const opened = Promise.allSettled([opening, version]);
      this.#isolation = await probeIsolation({
        minimum,
        ...(maximum ? { maximum } : {}),
        dataDir,
        limiter,
        builder,
        uid: this.#uids?.take() ?? null,
      });
      const { level } = this.#isolation;
      const way = builder.ways.find((each) => each.level === level);
      await opened;
      if (!way) return;

      const directories = await opening;
      if (isRoot) {
        // Kept from being given away until their workspaces are claimed or swept.
        for (const { uid } of await workspacesBelow(directories.workspaces)) {
          if (uid !== null) this.#uids?.claim(uid);
        }
      }
      const disks = await findDiskLimiter({
        wanted: this.#options.diskLimit ?? 'auto',
        workspaces: directories.workspaces,
        isRoot,
        inUserNamespace: level === 'full' || level === 'oneshot',
        log,
      });
      this.#undo.push('disks', () => disks.close());
      this.#isolation = withLimits(this.#isolation, { limiter, disks, isRoot });
      const unpacking = new AbortController();
      const pip = new KeptPromise(() => unpackPip(directories.pipAtHome, PYTHON, unpacking.signal));
      pip.get().catch((error: unknown) => {
        if (!unpacking.signal.aborted) log.warn({ err: error }, 'no pip for sandboxes');
      });
      this.#undo.push('pip', async () => {
        unpacking.abort();
        await pip.known?.catch(() => {});
      });
      this.#host = {
        directories,
        limiter,
        launcher: way.launcher,
        starts: new Starts(),
        disks,
        python: { path: PYTHON, version: await version },
        filter,
        closedFilter: seccompFilter(process.arch, { sockets: false }),
        nested: way.nested,
        agentIdleMs: this.#options.agentIdleMs,
        startWithinMs: this.#options.startWithinMs ?? START_WITHIN_MS,
        ownAddresses: this.#options.ownAddresses ?? (() => []),
        egressLimits: { ...EGRESS_LIMITS, ...this.#options.egressLimits },
        pipReady: () => pip.get(),
        removed: ({ id, uid }) => {
          this.#sandboxes.delete(id);
          if (uid !== null) this.#uids?.free(uid);
        },
        log,
      };
    } catch (error) {
      await this.#undo.run();
      throw error;
    }
  }

  async #openDirectories(options: { isRoot: boolean; filter: Buffer }): Promise<HostDirectories> {
    const directories = await HostDirectories.open(this.#options.dataDir, {
      ...options,
      etc: this.#options.etc ?? [],
    });
    this.#undo.push('host directories', () => directories.close());
    await directories.compileLibrary(PYTHON);
    return directories;
  }

  async #close(): Promise<void> {
    await this.#starting?.catch(() => {});
    const spares = await Promise.allSettled([this.#spares?.close()]);
    const closed = await Promise.allSettled([...this.#sandboxes.values()].map((sandbox) => sandbox.close()));
    this.#host = undefined;
    await this.#undo.run();
    const failed = [...spares, ...closed].find((each) => each.status === 'rejected');
    if (failed) throw failed.reason;
  }

  #hostOrRefusal(): SandboxHost {
    if (this.#host) return this.#host;
    const missing = this.#isolation?.missing[0];
    throw new IsolationUnavailable(
      missing?.what ?? 'it has not been probed, or the service is stopping',
      missing?.fix ?? 'Start the service again.',
    );
  }

  #workspace({ directories }: SandboxHost, id: string, uid: number | null): Workspace {
    if (!/^[A-Za-z0-9_-]{1,64}$/.test(id)) throw new Error(`not an id of ours: ${JSON.stringify(id)}`);
    return new Workspace(join(directories.workspaces, id), uid);
  }

  #add(host: SandboxHost, spec: SandboxSpec, workspace: Workspace, disk: WorkspaceDisk): BubblewrapSandbox {
    const sandbox = new BubblewrapSandbox(host, spec, workspace, disk);
    this.#sandboxes.set(spec.id, sandbox);
    return sandbox;
  }
}

const START_WITHIN_MS = 60_000;

const NOBODYS = { env: {}, egress: { allow: [], mayBePrivate: [] } } satisfies Partial<SandboxSpec>;

/** A sandbox that is only there to be removed. */
const SWEPT: Omit<SandboxSpec, 'id'> = {
  ...NOBODYS,
  limits: {
    memoryBytes: 512 * 1024 ** 2,
    cpuPercent: 100,
    diskBytes: 1024 ** 2,
    maxInodes: 1,
    maxProcesses: 16,
    maxOpenFiles: 256,
  },
};

async function hostAccounts(): Promise<HostAccounts> {
  const read = (name: string) => readFile(`/etc/${name}`, 'utf8').catch(() => '');
  const [passwd, group, subuid, subgid] = await Promise.all(
    ['passwd', 'group', 'subuid', 'subgid'].map(read),
  );
  return { passwd: passwd!, group: group!, subuid: subuid!, subgid: subgid! };
}

async function pythonVersion(): Promise<string> {
  const { stdout } = await promisify(execFile)(PYTHON, [
    '-I',
    '-S',
    '-c',
    'import sys; print("%d.%d" % sys.version_info[:2])',
  ]);
  return stdout.trim();
}

/** What an earlier run left, should it have lost its parent without dying with it: all that have this workspace mounted,
 *  which is how anything could still write there. Not all of its uid, which another service on this host may use too. */
async function killAllIn(workspace: Workspace): Promise<void> {
  const mounted = `/${basename(workspace.directory)}/${basename(workspace.path)} /workspace `;
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const mounts = await readFile(`/proc/${name}/mountinfo`, 'utf8').catch(() => '');
    if (!mounts.includes(mounted)) continue;
    try {
      process.kill(Number(name), 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}
