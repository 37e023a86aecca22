// A driver on this machine, for the tests of one file, and short ways to run programs in its sandboxes.
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import type { Test } from 'tap';
import { BubblewrapDriver, type BubblewrapDriverOptions } from '../../src/sandbox/driver.js';
import type { Exec, ExecEnd, ExecRequest, Program, Sandbox, SandboxSpec } from '../../src/sandbox/sandbox.js';

export const MIB = 1024 * 1024;

export async function startDriver(
  t: Test,
  options: Partial<BubblewrapDriverOptions> = {},
): Promise<BubblewrapDriver> {
  let { dataDir } = options;
  if (dataDir === undefined) {
    const made = await mkdtemp(join(tmpdir(), 'codegen-worker-test-'));
    t.teardown(() => rm(made, { recursive: true, force: true }));
    dataDir = made;
  }
  const driver = new BubblewrapDriver({
    log: pino({ level: 'silent' }),
    minimum: 'oneshot',
    uids: { first: 200_000, count: 65_536 },
    agentIdleMs: 60_000,
    ...options,
    dataDir,
  });
  // Runs before the directory goes.
  t.teardown(() => driver.close());
  await driver.start();
  return driver;
}

let sandboxes = 0;

export function sandboxSpec(changes: Partial<SandboxSpec> = {}): SandboxSpec {
  sandboxes += 1;
  return {
    id: `test_${process.pid}_${sandboxes}`,
    env: {},
    egress: { allow: [], mayBePrivate: [] },
    limits: {
      memoryBytes: 256 * MIB,
      cpuPercent: 200,
      diskBytes: 64 * MIB,
      maxInodes: 10_000,
      maxProcesses: 64,
      maxOpenFiles: 512,
    },
    ...changes,
  };
}

export interface Ran {
  readonly end: ExecEnd;
  readonly stdout: string;
  readonly stderr: string;
}

type Changes = Partial<Omit<ExecRequest, 'stdin' | 'program'>> & { readonly stdin?: string };

/** Python code, or any program. */
export function request(program: string | readonly string[] | Program, changes: Changes = {}): ExecRequest {
  return {
    program:
      typeof program === 'string'
        ? { kind: 'python', code: program, args: [] }
        : 'kind' in program
          ? program
          : { kind: 'argv', argv: program },
    env: {},
    cwd: '.',
    stdinOpen: false,
    ...changes,
    stdin: Buffer.from(changes.stdin ?? ''),
  };
}

export async function run(
  sandbox: Sandbox,
  program: string | readonly string[] | Program,
  changes: Changes = {},
): Promise<Ran> {
  return start(sandbox, program, changes).ran;
}

/** One that is still running; `said` resolves when its output has this text. */
export function start(
  sandbox: Sandbox,
  program: string | readonly string[] | Program,
  changes: Changes = {},
): { exec: Exec; said(text: string): Promise<void>; ran: Promise<Ran> } {
  const pieces = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  const text = (stream: 'stdout' | 'stderr') => Buffer.concat(pieces[stream]).toString('utf8');
  const waiting: { readonly text: string; resolve(): void; reject(error: Error): void }[] = [];
  const exec = sandbox.exec(request(program, changes), (stream, chunk) => {
    pieces[stream].push(chunk);
    for (const each of waiting) if (text('stdout').includes(each.text)) each.resolve();
  });
  const ran = exec.ended.then((end) => ({ end, stdout: text('stdout'), stderr: text('stderr') }));
  return {
    exec,
    ran,
    said: (wanted) =>
      new Promise((resolve, reject) => {
        if (text('stdout').includes(wanted)) resolve();
        waiting.push({ text: wanted, resolve, reject });
        void ran.then((it) => reject(new Error(`ended before it said ${wanted}: ${JSON.stringify(it)}`)));
      }),
  };
}

/** Host pids of the processes below our bubblewraps that hold this sandbox's workspace. */
export async function childrenOf(sandbox: Sandbox): Promise<number[]> {
  const workspace = mountedAs(sandbox);
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/mountinfo`, 'latin1').includes(workspace);
      } catch {
        return false;
      }
    });
}

/** How its workspace looks in the mountinfo of who is inside: a directory of the host's, or a disk of its own. */
function mountedAs({ id }: Sandbox): string {
  const own = readFileSync('/proc/self/mountinfo', 'latin1')
    .split('\n')
    .map((line) => line.split(' '))
    .find((fields) => fields[4]?.endsWith(`/${id}/workspace`));
  return own ? ` ${own[2]} / /workspace ` : `${id}/workspace /workspace `;
}

export async function agentPid(sandbox: Sandbox): Promise<number> {
  await sandbox.warm();
  for (const pid of await childrenOf(sandbox)) {
    if (/^NSpid:\t\d+\t1$/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'))) return pid;
  }
  throw new Error('no agent');
}

/** Processes with a user's code: those two namespaces down that are neither keepers nor waiting. */
export async function programsLeft(sandbox: Sandbox): Promise<number> {
  const pids = await childrenOf(sandbox);
  return pids.filter((pid) => {
    try {
      const status = readFileSync(`/proc/${pid}/status`, 'latin1');
      const nested = Number(/^NSpid:(?:\t\d+){2}\t(\d+)$/m.exec(status)?.[1] ?? 0);
      return nested > 2;
    } catch {
      return false;
    }
  }).length;
}

/** Children that leave their session and ignore what they can ignore. */
export const FORK_AWAY = `
import os, time, signal
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        for s in (1, 2, 3, 15): signal.signal(s, signal.SIG_IGN)
        time.sleep(60)
`;
