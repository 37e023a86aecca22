// Finds out, by trying, how strong the walls are on this host: the real command line is started with a hostile program
// inside, and what that could do is held against what was promised. It never throws for something the host lacks.
import { access, chmod, chown, constants, mkdir, mkdtemp, rm, rmdir, stat } from 'node:fs/promises';
import { release } from 'node:os';
import { join, resolve } from 'node:path';
import { VISIBLE_HOST_PATHS } from './bubblewrap.js';
import type { Builder, Way } from './builder.js';
import { type Advice, adviseOnCgroups, adviseOnDisks, readHostTraits } from './host-advice.js';
import { HostDirectories } from './host-directories.js';
import type { DiskLimiter } from './limits/disk.js';
import type { Limiter } from './limits/limits.js';
import { namespacesOf } from './probe-judge.js';
import { type Ground, tryWay } from './probe-run.js';
import {
  type Enforced,
  ISOLATION_LEVELS,
  type IsolationCheck,
  type IsolationLevel,
  type IsolationReport,
} from './sandbox.js';
import { seccompFilter } from './seccomp.js';

const PYTHON = '/usr/bin/python3';

export interface ProbeOptions {
  readonly builder: Builder;
  readonly minimum: IsolationLevel;
  /** Stronger levels are not tried. Default: `full`. */
  readonly maximum?: IsolationLevel;
  /** Where workspaces will be: a sandbox is tried right there, since its uid has to be able to reach it. */
  readonly dataDir: string;
  readonly limiter: Limiter;
  /** Host uid to try it with when the service is root; null as an ordinary user. */
  readonly uid: number | null;
}

/** The higher, the weaker. */
const rank = (level: IsolationLevel) => ISOLATION_LEVELS.indexOf(level);

/** What was found so far; the level comes last. */
class Findings {
  readonly tried: { level: IsolationLevel; ok: boolean; detail: string }[] = [];
  readonly tools: IsolationCheck[] = [];
  /** Of the level tried last. */
  inside: readonly IsolationCheck[] = [];
  readonly missing: Advice[] = [];
  readonly versions: Record<string, string> = { kernel: release(), node: process.versions.node };

  constructor(private readonly options: ProbeOptions) {}

  report(way: Way | null): IsolationReport {
    const { minimum, limiter, uid } = this.options;
    const isEnough = way !== null && rank(way.level) <= rank(minimum);
    if (way !== null && !isEnough) {
      this.missing.push({
        what: `the level reached is ${way.level}, and ISOLATION_MIN asks for ${minimum}`,
        fix: `Mend what else is named here, or accept weaker isolation with ISOLATION_MIN=${way.level}.`,
      });
    }
    return {
      level: isEnough ? way.level : null,
      minimum,
      tried: this.tried,
      checks: [...this.tools, ...this.inside],
      enforced: isEnough ? enforcedBy(way, uid) : null,
      limits: limitsOf(limiter),
      missing: this.missing,
      versions: this.versions,
    };
  }
}

function enforcedBy(way: Way, uid: number | null): Enforced {
  return {
    namespaces: namespacesOf(way),
    eachProgram: way.nested ? ['pid', 'mnt', 'ipc'] : namespacesOf(way),
    seccomp: true,
    uid: uid === null ? 'shared' : 'perSession',
  };
}

function limitsOf({ kind }: Limiter): IsolationReport['limits'] {
  return {
    cgroup: kind,
    memory: kind === null ? 'rlimit' : 'cgroup',
    cpu: kind === null ? null : 'cgroup',
    processes: kind === null ? 'rlimit' : 'cgroup',
    disk: 'watcher',
  };
}

/** The report of a host on which tasks run, with what their limits rest on, and why on no more. */
export function withLimits(
  report: IsolationReport,
  { limiter, disks, isRoot }: { limiter: Limiter; disks: DiskLimiter; isRoot: boolean },
): IsolationReport {
  const traits = readHostTraits(isRoot);
  const missing = [...report.missing];
  if (limiter.kind === null) missing.push(adviseOnCgroups(limiter.against ?? {}, traits));
  // The operator may have asked for the watcher.
  if (disks.kind === 'watcher' && Object.keys(disks.against).length > 0)
    missing.push(adviseOnDisks(disks.against, traits));
  return { ...report, limits: { ...report.limits, disk: disks.kind }, missing };
}

export async function probeIsolation(options: ProbeOptions): Promise<IsolationReport> {
  const findings = new Findings(options);
  try {
    if (!(await hasTools(options.builder, findings))) return findings.report(null);
    return findings.report(await tryOnGround(options, findings));
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error);
    findings.missing.push({ what, fix: 'Correct what this names and start the service again.' });
    return findings.report(null);
  }
}

async function hasTools(builder: Builder, { tools, missing, versions }: Findings): Promise<boolean> {
  const { version, problem } = await builder.check();
  if (version) versions[builder.name] = version;
  tools.push({ name: builder.name, ok: !problem, detail: problem?.what ?? version ?? 'found' });
  if (problem) missing.push(problem);
  const hasPython = await access(PYTHON, constants.X_OK).then(
    () => true,
    () => false,
  );
  if (!hasPython) {
    tools.push({ name: 'python', ok: false, detail: `${PYTHON} not found` });
    missing.push({ what: `${PYTHON} is not there`, fix: 'Run: apt-get install python3.' });
  }
  return !problem && hasPython;
}

/** Makes what a sandbox needs on the host, for the time of the probe. */
async function tryOnGround(options: ProbeOptions, findings: Findings): Promise<Way | null> {
  const dataDir = resolve(options.dataDir);
  const visible = VISIBLE_HOST_PATHS.find((path) => `${dataDir}/`.startsWith(`${path}/`));
  if (visible !== undefined) {
    findings.missing.push({
      what: `DATA_DIR (${dataDir}) lies below ${visible}, which every sandbox can read`,
      fix: 'Set DATA_DIR to a directory elsewhere, e.g. /var/lib/codegen-worker.',
    });
    return null;
  }
  const isFresh = await stat(dataDir).then(
    () => false,
    () => true,
  );
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const trial = await mkdtemp(join(dataDir, '.probe-'));
  // As the directory of the sandboxes is: where it cannot be bind-mounted elsewhere their uids pass through it.
  await chmod(trial, 0o711);
  try {
    const filter = seccompFilter(process.arch, { sockets: true });
    const directories = await HostDirectories.open(trial, { isRoot: options.uid !== null, filter });
    try {
      const { limiter, uid } = options;
      const workspace = await makeWorkspace(directories.workspaces, uid);
      const { library } = directories;
      return await tryWays(options, { library, workspace, filter, python: PYTHON, limiter, uid }, findings);
    } finally {
      await directories.close();
    }
  } finally {
    await rm(trial, { recursive: true, force: true });
    if (isFresh) await rmdir(dataDir).catch(() => {});
  }
}

/** As a session's is: private, owned by its uid, below a directory that everybody may pass. */
async function makeWorkspace(workspaces: string, uid: number | null): Promise<string> {
  const workspace = join(workspaces, 'probe');
  await mkdir(workspace, { mode: 0o700 });
  if (uid !== null) await chown(workspace, uid, uid);
  return workspace;
}

/** The strongest at which everything holds. Those weaker than the minimum are tried, too: the report names what can be
 *  had. */
async function tryWays(
  { builder, maximum = 'full', uid }: ProbeOptions,
  ground: Ground,
  findings: Findings,
): Promise<Way | null> {
  for (const way of builder.ways.filter(({ level }) => rank(level) >= rank(maximum))) {
    const { said, checks, python } = await tryWay(way, ground);
    if (python) findings.versions.python = python;
    findings.inside = checks;
    const broken = checks.filter(({ ok }) => !ok);
    const isGood = said === null && broken.length === 0;
    const detail = said ?? broken.map(({ name, detail }) => `${name}: ${detail}`).join('; ');
    findings.tried.push({ level: way.level, ok: isGood, detail: isGood ? way.words : detail });
    if (isGood) return way;
    const advice = said === null ? [] : [builder.advise(said, readHostTraits(uid !== null))];
    const promises = broken.map((each) => ({
      what: `${way.level}: ${each.name}: ${each.detail}`,
      fix: BROKEN_PROMISE,
    }));
    for (const each of [...advice, ...promises]) {
      if (!findings.missing.some(({ what }) => what === each.what)) findings.missing.push(each);
    }
  }
  return null;
}

const BROKEN_PROMISE =
  'A sandbox must not be able to do this; please report it with the output of `codegen-worker doctor --json`.';
