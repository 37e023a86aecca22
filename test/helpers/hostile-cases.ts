// What hostile programs try, one case each, over the REST API of one long-lived service: after every case nothing is
// left of it, and the next task of the session runs. The cases are data: code, how it may end, what it may and may
// not say.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { chown } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import type { EndingCause, Task } from '../../src/tasks/schema.js';
import { type Host, THIS_HOST } from './hosts.js';
import { processesBelow, residentBytes } from './processes.js';
import { startProcess } from './service-process.js';
import { type Client, clientOf } from './world.js';

export interface HostileCase {
  readonly name: string;
  readonly code: string;
  readonly why: string;
  readonly needs?: 'quota' | 'cgroup' | 'x86_64';
  readonly expect: {
    readonly end: readonly Ending[];
    /** Has to be in stdout when the program ended by itself. */
    readonly stdout?: string;
    /** May be nowhere in the output. */
    readonly not?: string;
    readonly max_ms?: number;
    readonly after?: readonly string[];
  };
}

type Ending = 'exit' | 'timeout' | 'oom' | 'output' | 'disk' | 'signal';

const CASES = new URL('../../../test/attacks/hostile-cases.json', import.meta.url);
export const hostileCases: readonly HostileCase[] = JSON.parse(readFileSync(fileURLToPath(CASES), 'utf8'));

const MIB = 1024 * 1024;
const ENDINGS: Partial<Record<EndingCause, Ending>> = {
  exited: 'exit',
  timedOut: 'timeout',
  outOfMemory: 'oom',
  outputLimit: 'output',
  diskLimit: 'disk',
  signaled: 'signal',
};
const LIMITS = { memoryMb: 192, diskMb: 256, maxProcesses: 48, maxOutputBytes: 4 * MIB };
/** Of a session at rest: bubblewrap, agent and file helper, and where programs wait in it, two keepers with one each. */
const AT_REST = { full: 7, oneshot: 3 } as const;
const AT_REST_WITHIN_MS = 20_000;

export interface HostileGround {
  /** How the service says programs are kept in. */
  readonly level: string;
  readonly hasCgroup: boolean;
  /** False, or why this case shows nothing here. */
  cannotRun(hostile: HostileCase): string | false;
  /** Runs it and looks around: everything that is not as it should be, in words. */
  complaintsAbout(hostile: HostileCase): Promise<string[]>;
  /** Ends the service; what is still there of it, in words. */
  complaintsAtTheEnd(): Promise<string[]>;
}

export interface GroundOptions {
  readonly host?: Host;
  /** Of the service, when not ours. */
  readonly uid?: number;
  readonly settings?: Record<string, string>;
}

export async function startHostileGround(t: Test, options: GroundOptions = {}): Promise<HostileGround> {
  const directory = mkdtempSync(join(tmpdir(), 'hostile-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const canary = join(directory, 'canary');
  writeFileSync(canary, 'untouched');
  const dataDir = join(directory, 'data');
  mkdirSync(dataDir);
  if (options.uid !== undefined) {
    for (const path of [directory, dataDir]) await chown(path, options.uid, options.uid);
  }
  const settingBefore = kernelSetting();
  const hostServer = createServer((socket) => socket.on('error', () => {}).end('host'));
  await new Promise<void>((resolve) => hostServer.listen(0, '127.0.0.1', resolve));
  t.teardown(() => hostServer.close());

  // What runs is counted, and spare sandboxes come and go.
  const settings = {
    SPARE_SANDBOXES: '0',
    MAX_OPEN_FILES: '256',
    AGENT_IDLE_SECONDS: '3600',
    ...options.settings,
  };
  const service = startProcess(t, dataDir, settings, options.host ?? THIS_HOST);
  const { address } = await service.line('listening');
  const pid = service.child.pid!;
  const client = clientOf(() => address!);
  const { body: isolation } = await client.call<{
    level: string | null;
    limits: { cgroup: string | null; disk: string };
  }>('GET', '/v1/isolation');
  if (isolation.level === null) throw new Error(`no sandbox: ${JSON.stringify(isolation)}`);
  const level = isolation.level;

  const other = await client.session();
  const { sessionId } = await client.session({ limits: LIMITS });
  const place = {
    '@CANARY_FILE@': canary,
    '@OTHER_WORKSPACE@': join(dataDir, 'sandboxes', 'workspaces', other.sessionId, 'workspace'),
    '@HOST_PORT@': String((hostServer.address() as AddressInfo).port),
  };
  // The helper and the processes that wait are made when they are first wanted.
  await client.run(sessionId, 'fs.list', { path: '.' });
  await client.python(sessionId, 'pass');
  const rssAtRest = residentBytes(pid);

  async function complaintsAbout({ code, expect }: HostileCase): Promise<string[]> {
    const complaints: string[] = [];
    const rssBefore = residentBytes(pid);
    const race = expect.after?.includes('artifact_no_follow') ? new SymlinkRace(client, sessionId) : null;
    const task = await client.python(
      sessionId,
      Object.entries(place).reduce((text, [from, to]) => text.replaceAll(from, to), code),
      { constraints: { timeoutSeconds: expect.end.includes('timeout') ? 1 : 30 } },
    );
    complaints.push(...judge(expect, task, await outputOf(client, task)));
    if ((await race?.stop()) !== 0 && race) complaints.push('a file was read through a swapped symlink');

    if (readFileSync(canary, 'utf8') !== 'untouched') complaints.push('the canary was touched');
    if (kernelSetting() !== settingBefore) complaints.push('core_pattern was changed');
    complaints.push(...(await leftBehind(pid, level)));
    const grown = residentBytes(pid) - rssBefore;
    if (grown > 150 * MIB) complaints.push(`the service grew by ${Math.round(grown / MIB)} MiB`);
    const next = await client.python(sessionId, 'print("next")');
    if (next.outputs?.stdout !== 'next\n' || next.durationMs! > 10_000) {
      complaints.push(`the next task: ${JSON.stringify(next)}`);
    }
    // One case may fill the workspace, which is no reason for the next to fail.
    const cleared = await client.run(sessionId, 'run.command', { command: CLEAR });
    if (cleared.status !== 'success') complaints.push(`clearing up: ${JSON.stringify(cleared.ending)}`);
    return complaints;
  }

  async function complaintsAtTheEnd(): Promise<string[]> {
    const complaints: string[] = [];
    const grown = residentBytes(pid) - rssAtRest;
    if (grown > 250 * MIB) complaints.push(`the service grew by ${Math.round(grown / MIB)} MiB in all`);
    for (const id of [sessionId, other.sessionId]) {
      const { status } = await client.call('DELETE', `/v1/sessions/${id}`);
      if (status !== 200) complaints.push(`a session could not be deleted: ${status}`);
    }
    complaints.push(...inSandboxes(pid).map(({ name }) => `${name} outlived its session`));
    service.child.kill('SIGTERM');
    const code = await service.exited;
    if (code !== 0) complaints.push(`the service ended with ${code}: ${service.stderr()}`);
    return complaints;
  }

  return {
    level,
    hasCgroup: isolation.limits.cgroup !== null,
    cannotRun({ needs, code }) {
      if (level === 'noProc' && code.includes('/dev/stdout')) return 'needs /proc';
      if (needs === 'cgroup' && isolation.limits.cgroup === null) return 'needs control groups';
      if (needs === 'quota' && isolation.limits.disk === 'watcher') return 'needs a disk quota';
      if (needs === 'x86_64' && process.arch !== 'x64') return 'the numbers of its calls are those of x64';
      return false;
    },
    complaintsAbout,
    complaintsAtTheEnd,
  };
}

/** Each case is a test, and so is the end. */
export async function testHostileCases(t: Test, options: GroundOptions = {}): Promise<HostileGround> {
  const ground = await startHostileGround(t, options);
  for (const hostile of hostileCases) {
    const skip = ground.cannotRun(hostile);
    await t.test(`${hostile.name}: ${hostile.why}`, { skip }, async (t) => {
      t.same(await ground.complaintsAbout(hostile), []);
    });
  }
  await t.test('nothing is left when the sessions and the service are gone', async (t) => {
    t.same(await ground.complaintsAtTheEnd(), []);
  });
  return ground;
}

const CLEAR = 'find . -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -rf {} +';

const kernelSetting = () => readFileSync('/proc/sys/kernel/core_pattern', 'utf8');

function judge(expect: HostileCase['expect'], task: Task, output: Output): string[] {
  const complaints: string[] = [];
  const { cause, exitCode } = task.ending!;
  const ending = ENDINGS[cause];
  const shown = `${output.stdout.slice(0, 2000)}\n${output.stderr.slice(-2000)}`;
  if (!ending || !expect.end.includes(ending)) {
    complaints.push(`ended by ${cause}, expected ${expect.end.join(' or ')}: ${shown}`);
  }
  if (ending === 'exit' && expect.stdout && !new RegExp(expect.stdout).test(output.stdout)) {
    complaints.push(`stdout has no ${expect.stdout}: ${shown}`);
  }
  if (expect.not && new RegExp(expect.not).test(`${output.stdout}\n${output.stderr}`)) {
    complaints.push(`said what it must not be able to say: ${shown}`);
  }
  if (expect.max_ms && task.durationMs! > expect.max_ms) complaints.push(`took ${task.durationMs} ms`);
  const expected = expect.after?.find((check) => check.startsWith('exit_code:'))?.slice('exit_code:'.length);
  if (expected !== undefined && exitCode !== Number(expected)) complaints.push(`exit code ${exitCode}`);
  return complaints;
}

interface Output {
  readonly stdout: string;
  readonly stderr: string;
}

async function outputOf({ url }: Client, { taskId }: Task): Promise<Output> {
  const text = async (stream: string) => {
    const reply = await fetch(`${url}/v1/tasks/${taskId}/output/${stream}`);
    return Buffer.from(await reply.arrayBuffer()).toString('latin1');
  };
  return { stdout: await text('stdout'), stderr: await text('stderr') };
}

/** The service has other children as well, such as the one that unpacks pip after its start. */
const inSandboxes = (service: number) =>
  processesBelow(service).filter(({ name, innerPids }) => name === 'bwrap' || innerPids.length > 0);

/** What a task left running, once processes have been made for the next ones. */
async function leftBehind(service: number, level: string): Promise<string[]> {
  const most = level === 'full' ? AT_REST.full : AT_REST.oneshot;
  const until = performance.now() + AT_REST_WITHIN_MS;
  for (;;) {
    const all = inSandboxes(service);
    // A program is the second in its own namespace; whatever else is in there it has made.
    const made = all.filter(({ innerPids }) => innerPids.length > 1 && innerPids[1]! > 2);
    if (made.length === 0 && all.length <= most) return [];
    if (performance.now() > until) {
      return all.map(({ name, innerPids }) => `left running: ${name} ${innerPids}`);
    }
    await sleep(10);
  }
}

/** Reads through a directory that the program swaps for a symlink to /etc, as fast as it can. */
class SymlinkRace {
  #escapes = 0;
  #stopped = false;
  readonly #reading: Promise<void>;

  constructor(
    private readonly client: Client,
    private readonly sessionId: string,
  ) {
    this.#reading = this.#read();
  }

  /** How often it got what it must not. */
  async stop(): Promise<number> {
    this.#stopped = true;
    await this.#reading;
    return this.#escapes;
  }

  async #read(): Promise<void> {
    while (!this.#stopped) {
      const read = await this.client.run(
        this.sessionId,
        'fs.read',
        { path: 'out/passwd' },
        { background: true },
      );
      if (read.status === 'success') this.#escapes += 1;
    }
  }
}
