// Finds out, by trying, how strong the walls are on this host: the real command line is started with a hostile program
// inside, and what that could do is held against what was promised. It never throws for something the host lacks.
import { execFile } from 'node:child_process';
import { access, chown, constants, mkdir, mkdtemp, readFile, rm, rmdir, stat } from 'node:fs/promises';
import { release } from 'node:os';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { INSIDE_LIBRARY, NESTING_CAPABILITIES, VISIBLE_HOST_PATHS } from './bubblewrap.js';
import { type Advice, adviseOnFailure, readHostTraits } from './host-advice.js';
import { HostDirectories } from './host-directories.js';
import { launch } from './launch.js';
import type { Limiter } from './limits/limits.js';
import { judge, ownNamespaces, type ProbeFacts } from './probe-judge.js';
import {
  ISOLATION_LEVELS,
  type IsolationCheck,
  type IsolationLevel,
  type IsolationReport,
} from './sandbox.js';
import { seccompFilter } from './seccomp.js';

const PYTHON = '/usr/bin/python3';
const LEAST_BUBBLEWRAP = [0, 8, 0];
const ANSWER_WITHIN_MS = 20_000;

export interface ProbeOptions {
  readonly minimum: IsolationLevel;
  /** Stronger levels are not tried. Default: `full`. */
  readonly maximum?: IsolationLevel;
  /** Where workspaces will be: a sandbox is tried right there, since its uid has to be able to reach it. */
  readonly dataDir: string;
  readonly limiter: Limiter;
  /** Host uid to try it with when the service is root; null as an ordinary user. */
  readonly uid: number | null;
  readonly bubblewrap?: string;
}

/** The higher, the weaker. */
const rank = (level: IsolationLevel) => ISOLATION_LEVELS.indexOf(level);

/** What was found so far; the level comes last. */
class Findings {
  readonly checks: IsolationCheck[] = [];
  /** Of the level tried last. */
  inside: readonly IsolationCheck[] = [];
  readonly missing: Advice[] = [];
  readonly versions: Record<string, string> = { kernel: release(), node: process.versions.node };

  constructor(private readonly options: ProbeOptions) {}

  report(level: IsolationLevel | null): IsolationReport {
    const { minimum, limiter } = this.options;
    const isEnough = level !== null && rank(level) <= rank(minimum);
    if (level !== null && !isEnough) {
      this.missing.push({
        what: `the level reached is ${level}, and ISOLATION_MIN asks for ${minimum}`,
        fix: `Mend what else is named here, or accept weaker isolation with ISOLATION_MIN=${level}.`,
      });
    }
    return {
      level: isEnough ? level : null,
      minimum,
      checks: [...this.checks, ...this.inside],
      limits: { cgroup: limiter.kind, disk: 'watcher' },
      missing: this.missing,
      versions: this.versions,
    };
  }
}

export async function probeIsolation(options: ProbeOptions): Promise<IsolationReport> {
  const findings = new Findings(options);
  const bubblewrap = options.bubblewrap ?? 'bwrap';
  try {
    if (!(await hasTools(bubblewrap, findings))) return findings.report(null);
    return findings.report(await tryLevels({ ...options, bubblewrap }, findings));
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error);
    findings.missing.push({ what, fix: 'Correct what this names and start the service again.' });
    return findings.report(null);
  }
}

async function hasTools(bubblewrap: string, { checks, missing, versions }: Findings): Promise<boolean> {
  const version = await promisify(execFile)(bubblewrap, ['--version']).then(
    ({ stdout }) => /(\d+)\.(\d+)(?:\.(\d+))?/.exec(stdout),
    () => null,
  );
  const isNew = version !== null && isAtLeast(version.slice(1).map(Number), LEAST_BUBBLEWRAP);
  if (version) versions.bubblewrap = version[0];
  checks.push({ name: 'bubblewrap', ok: isNew, detail: version?.[0] ?? 'not found' });
  if (!isNew) {
    missing.push({
      what: version ? `bubblewrap ${version[0]} is older than 0.8` : 'bubblewrap is not installed',
      fix: 'Run: apt-get install bubblewrap (Debian 12, Ubuntu 23.04 and later have 0.8 or newer).',
    });
  }
  const hasPython = await access(PYTHON, constants.X_OK).then(
    () => true,
    () => false,
  );
  if (!hasPython) {
    checks.push({ name: 'python', ok: false, detail: `${PYTHON} not found` });
    missing.push({ what: `${PYTHON} is not there`, fix: 'Run: apt-get install python3.' });
  }
  return isNew && hasPython;
}

function isAtLeast(version: readonly number[], least: readonly number[]): boolean {
  const differing = least.findIndex((number, index) => (version[index] || 0) !== number);
  return differing === -1 || (version[differing] || 0) > least[differing]!;
}

interface Ground {
  readonly options: ProbeOptions & { readonly bubblewrap: string };
  readonly library: string;
  readonly workspace: string;
  readonly filter: Buffer;
}

/** The strongest level at which everything holds. */
async function tryLevels(options: Ground['options'], findings: Findings): Promise<IsolationLevel | null> {
  const isRoot = options.uid !== null;
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
  try {
    const filter = seccompFilter(process.arch, { sockets: true });
    const directories = await HostDirectories.open(trial, { isRoot, filter });
    try {
      const workspace = await makeWorkspace(directories.workspaces, options.uid);
      const ground = { options, library: directories.library, workspace, filter };
      for (const level of ['full', 'oneshot'] as const) {
        if (rank(level) < rank(options.maximum ?? 'full')) continue;
        if (await tryLevel(level, ground, findings)) return level;
      }
      return null;
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

async function tryLevel(level: 'full' | 'oneshot', ground: Ground, findings: Findings): Promise<boolean> {
  const { said, checks } = await runProbe(level, ground, findings);
  findings.checks.push({ name: level, ok: said === null, detail: said ?? LEVEL_WORDS[level] });
  findings.inside = checks;
  if (said !== null) {
    const advice = adviseOnFailure(said, readHostTraits(ground.options.uid !== null));
    if (!findings.missing.some(({ what }) => what === advice.what)) findings.missing.push(advice);
    return false;
  }
  const broken = checks.filter(({ ok }) => !ok);
  for (const { name, detail } of broken) {
    findings.missing.push({ what: `${level}: ${name}: ${detail}`, fix: BROKEN_PROMISE });
  }
  return broken.length === 0;
}

const BROKEN_PROMISE =
  'A sandbox must not be able to do this; please report it with the output of `codegen-worker doctor --json`.';

const LEVEL_WORDS = {
  full: 'every program gets namespaces of its own inside the sandbox of its session',
  oneshot: 'every program gets a sandbox of its own',
} as const;

/** `said` is null when the sandbox stood and the probe answered; only then are there checks. */
async function runProbe(
  level: 'full' | 'oneshot',
  { options, library, workspace, filter }: Ground,
  { versions }: Findings,
): Promise<{ said: string | null; checks: IsolationCheck[] }> {
  const group = await options.limiter.create('probe', PROBE_LIMITS);
  let hostUid: number | null = null;
  let isCounted = false;
  try {
    const sandbox = await launch({
      bubblewrap: options.bubblewrap,
      policy: {
        workspace: { source: workspace, writable: true },
        library,
        capabilities: level === 'full' ? NESTING_CAPABILITIES : [],
        command: [
          PYTHON,
          '-I',
          '-S',
          '-B',
          `${INSIDE_LIBRARY}/probe.py`,
          level === 'full' ? 'nested' : 'plain',
        ],
      },
      seccomp: level === 'full' ? null : filter,
      uid: options.uid,
      adopt: async (pids) => {
        await group.adopt(pids);
        isCounted = (await group.processes())?.includes(pids[1]!) ?? false;
        hostUid = await uidOf(pids[1]!);
      },
    });
    const impatience = setTimeout(() => sandbox.kill(), ANSWER_WITHIN_MS);
    const answer = await text(sandbox.stdout);
    const { stderr } = await sandbox.ended;
    clearTimeout(impatience);
    const facts = parseAnswer(answer);
    if ('error' in facts) return { said: facts.error || stderr, checks: [] };
    versions.python = facts.python;
    const checks = judge(facts, { uid: hostUid, namespaces: ownNamespaces() });
    return { said: null, checks: [...checks, ...limitChecks(options.limiter, isCounted)] };
  } catch (error) {
    return { said: error instanceof Error ? error.message : String(error), checks: [] };
  } finally {
    await group.kill();
    await group.remove();
  }
}

const PROBE_LIMITS = {
  memoryBytes: 256 * 1024 * 1024,
  cpuPercent: 100,
  diskBytes: 1024 * 1024,
  maxInodes: 100,
  maxProcesses: 32,
  maxOpenFiles: 64,
};

function limitChecks({ kind }: Limiter, isCounted: boolean): IsolationCheck[] {
  // Without cgroups there is nothing to count in: said in `limits`, and no reason to refuse tasks.
  if (kind === null) return [];
  return [
    {
      name: 'limits',
      ok: isCounted,
      detail: isCounted ? `held by cgroup ${kind}` : `its processes are not in their cgroup ${kind}`,
    },
  ];
}

function parseAnswer(answer: string): ProbeFacts | { error: string } {
  try {
    return JSON.parse(answer) as ProbeFacts | { error: string };
  } catch {
    return { error: '' };
  }
}

async function uidOf(pid: number): Promise<number | null> {
  const status = await readFile(`/proc/${pid}/status`, 'latin1').catch(() => '');
  const uid = /^Uid:\s+(\d+)/m.exec(status)?.[1];
  return uid === undefined ? null : Number(uid);
}
