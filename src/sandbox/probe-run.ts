// One try: a sandbox is built the way sandboxes will be, and a hostile program looks around inside.
import { execFileSync } from 'node:child_process';
import { readFileSync, readlinkSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { INSIDE_LIBRARY, NESTING_CAPABILITIES } from './bubblewrap.js';
import type { Way } from './builder.js';
import type { Limiter } from './limits/limits.js';
import { judge, type ProbeFacts } from './probe-judge.js';
import { type IsolationCheck, NAMESPACES } from './sandbox.js';

const ANSWER_WITHIN_MS = 20_000;
const ANSWER_BYTES = 64 * 1024;

export interface Ground {
  readonly library: string;
  readonly workspace: string;
  readonly filter: Buffer;
  readonly python: string;
  readonly limiter: Limiter;
  readonly uid: number | null;
}

/** `said` is null when the sandbox stood and the probe answered; only then are there checks. */
export interface Tried {
  readonly said: string | null;
  readonly checks: readonly IsolationCheck[];
  readonly python?: string;
}

export async function tryWay(way: Way, ground: Ground): Promise<Tried> {
  const { library, workspace, filter, python, limiter, uid } = ground;
  const group = await limiter.create('probe', PROBE_LIMITS);
  let isCounted = false;
  try {
    const sandbox = await way.launcher.launch({
      policy: {
        workspace: { source: workspace, writable: true },
        library,
        capabilities: way.nested ? NESTING_CAPABILITIES : [],
        command: [
          ...[python, '-I', '-S', '-B'],
          `${INSIDE_LIBRARY}/probe.py`,
          way.nested ? 'nested' : 'plain',
        ],
      },
      seccomp: way.nested ? null : filter,
      uid,
      startWithinMs: START_WITHIN_MS,
      adopt: async (pids) => {
        await group.adopt(pids);
        isCounted = group.processes()?.includes(pids.at(-1)!) ?? false;
      },
    });
    const impatience = setTimeout(() => sandbox.kill(), ANSWER_WITHIN_MS);
    const answer = await firstLine(sandbox.stdout);
    const seen = lookAt(sandbox.innerPid, uid);
    clearTimeout(impatience);
    sandbox.kill();
    const { stderr } = await sandbox.ended;
    const facts = parseAnswer(answer);
    if ('error' in facts) return { said: facts.error || stderr, checks: [] };
    const checks = [...judge(facts, seen, lookAt('self').namespaces, way), ...countCheck(limiter, isCounted)];
    return { said: null, checks, python: facts.python };
  } catch (error) {
    return { said: error instanceof Error ? error.message : String(error), checks: [] };
  } finally {
    await group.kill();
    await group.remove();
  }
}

const START_WITHIN_MS = 60_000;
const PROBE_LIMITS = {
  memoryBytes: 256 * 1024 * 1024,
  cpuPercent: 100,
  diskBytes: 1024 * 1024,
  maxInodes: 100,
  maxProcesses: 32,
  maxOpenFiles: 64,
};

function countCheck({ kind }: Limiter, isCounted: boolean): IsolationCheck[] {
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

/** The probe answers with one line, and then waits, so that it can be looked at from outside. */
async function firstLine(stream: Readable): Promise<string> {
  let text = '';
  for await (const chunk of stream) {
    text += chunk;
    if (text.includes('\n') || text.length > ANSWER_BYTES) break;
  }
  return text.split('\n', 1)[0]!;
}

function parseAnswer(answer: string): ProbeFacts | { error: string } {
  try {
    return JSON.parse(answer) as ProbeFacts | { error: string };
  } catch {
    return { error: '' };
  }
}

/** What the kernel says of a process, from outside. */
function lookAt(pid: number | 'self', asUid: number | null = null): Seen {
  try {
    const uid = /^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1];
    return { uid: uid === undefined ? null : Number(uid), namespaces: namespacesOf(pid, asUid) };
  } catch {
    return { uid: null, namespaces: {} };
  }
}

interface Seen {
  readonly uid: number | null;
  readonly namespaces: Readonly<Record<string, string>>;
}

/** Root without CAP_SYS_PTRACE, as it is in a container, may not look at other users' namespaces; their owner may. */
function namespacesOf(pid: number | 'self', asUid: number | null): Record<string, string> {
  const paths = NAMESPACES.map((name) => `/proc/${pid}/ns/${name}`);
  let links: string[];
  try {
    links = paths.map((path) => readlinkSync(path));
  } catch (error) {
    if (asUid === null) throw error;
    const as = { uid: asUid, gid: asUid, timeout: ANSWER_WITHIN_MS };
    links = execFileSync('/usr/bin/readlink', paths, { ...as, encoding: 'latin1' })
      .trim()
      .split('\n');
  }
  return Object.fromEntries(NAMESPACES.map((name, index) => [name, links[index] ?? '']));
}
