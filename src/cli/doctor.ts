// `codegen-worker doctor`: what this host can do for isolation, what is missing, and what to do about it.
import { existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Config } from '../config.js';
import { createLogger } from '../observability/logger.js';
import { builderFor } from '../sandbox/builders.js';
import { findLimiter } from '../sandbox/limits/find.js';
import { findDiskLimiter } from '../sandbox/limits/find-disk.js';
import type { Limiter } from '../sandbox/limits/limits.js';
import { probeIsolation, withLimits } from '../sandbox/probe.js';
import type { IsolationReport } from '../sandbox/sandbox.js';
import { isHostRoot } from '../sandbox/uids.js';

const USAGE = 'Usage: codegen-worker doctor [--json]\n';

/** Resolves with the exit code: 0 when tasks can run here, 1 when not. */
export async function runDoctor(
  config: Config,
  args: readonly string[],
  write: (text: string) => void = (text) => process.stdout.write(text),
): Promise<number> {
  const unknown = args.find((arg) => arg !== '--json');
  if (unknown !== undefined) {
    write(`There is no option "${unknown}".\n${USAGE}`);
    return 2;
  }
  const limiter = await findLimiter(
    createLogger({ level: 'silent', format: 'json' }),
    `doctor-${process.pid}`,
  );
  try {
    const isRoot = isHostRoot(process.getuid?.() ?? -1, readFileSync('/proc/self/uid_map', 'utf8'));
    const probed = await probeIsolation({
      builder: builderFor(config, { isRoot }),
      minimum: config.ISOLATION_MIN,
      maximum: config.ISOLATION_MAX,
      dataDir: config.DATA_DIR,
      limiter,
      // The last of the range, which a running service reaches last.
      uid: isRoot ? config.SANDBOX_UID_FIRST + config.SANDBOX_UID_COUNT - 1 : null,
    });
    const report = probed.level === null ? probed : await withDisk(probed, config, { limiter, isRoot });
    write(args.includes('--json') ? `${JSON.stringify(report, null, 2)}\n` : describeIsolation(report));
    return report.level === null ? 1 : 0;
  } finally {
    await limiter.close();
  }
}

/** What would hold workspaces to their size, tried on the disk of `DATA_DIR`, which need not be there yet. */
async function withDisk(
  report: IsolationReport,
  config: Config,
  { limiter, isRoot }: { limiter: Limiter; isRoot: boolean },
): Promise<IsolationReport> {
  let parent = config.DATA_DIR;
  while (!existsSync(parent)) parent = dirname(parent);
  const directory = await mkdtemp(join(parent, '.doctor-'));
  try {
    const workspaces = join(directory, 'workspaces');
    await mkdir(workspaces);
    const disks = await findDiskLimiter({
      wanted: config.DISK_LIMIT,
      workspaces,
      isRoot,
      inUserNamespace: report.level === 'full' || report.level === 'oneshot',
      log: createLogger({ level: 'silent', format: 'json' }),
    });
    await disks.close();
    return withLimits(report, { limiter, disks, isRoot });
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error);
    const fix = 'Set DISK_LIMIT=auto, or see "Size of workspaces" in docs/operations.md.';
    return { ...report, missing: [...report.missing, { what, fix }] };
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** The report for people. */
export function describeIsolation(report: IsolationReport): string {
  const { level, minimum, tried, checks, missing, versions } = report;
  const marks = [...tried.map((each) => ({ ...each, name: each.level })), ...checks];
  const width = Math.max(...marks.map(({ name }) => name.length));
  const lines = (each: readonly { name: string; ok: boolean; detail: string }[]) =>
    each.map(({ name, ok, detail }) => `  ${ok ? 'ok  ' : 'FAIL'}  ${name.padEnd(width)}  ${indent(detail)}`);
  const lastTried = tried.at(-1)?.level;
  const paragraphs = [
    level === null
      ? [`Tasks are refused on this host: no level of isolation from ${minimum} up holds.`]
      : [`Isolation level: ${level} (least allowed: ${minimum}). Tasks can run.`],
    ...(tried.length === 0 ? [] : [['Levels tried:', ...lines(marks.slice(0, tried.length))]]),
    [lastTried ? `Tools, and what was seen from inside at ${lastTried}:` : 'Tools:', ...lines(checks)],
    describeEnforced(report),
    [
      `Versions: ${Object.entries(versions)
        .map(([name, version]) => `${name} ${version}`)
        .join(', ')}.`,
    ],
    ...missing.map(({ what, fix }) => [`Missing: ${what}`, ...fix.split('\n').map((line) => `    ${line}`)]),
  ];
  return `${paragraphs.map((each) => each.join('\n')).join('\n\n')}\n`;
}

function describeEnforced({ enforced, limits }: IsolationReport): string[] {
  const rests =
    limits.cgroup === null
      ? 'memory and processes by rlimits, CPU not limited (no cgroup can be used)'
      : `memory, CPU and processes by cgroup ${limits.cgroup}`;
  return [
    ...(enforced
      ? [
          `Namespaces of each session: ${enforced.namespaces.join(', ')}; of each program: ${enforced.eachProgram.join(', ')}.`,
          `Uid on the host: ${enforced.uid === 'perSession' ? 'one for each session' : 'that of the service, for all sessions'}. Capabilities: none. Seccomp: ${enforced.seccomp ? 'in force' : 'none'}.`,
        ]
      : []),
    `Limits: ${rests}; disk by ${limits.disk}.`,
  ];
}

/** A complaint of several lines stays in its column. */
const indent = (detail: string) => detail.trim().split('\n').slice(0, 5).join('\n        ');
