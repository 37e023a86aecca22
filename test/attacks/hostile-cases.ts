// What hostile programs try, one case each, in one long-lived sandbox: after every case nothing is left of it, and the
// next program runs. The cases are data: code, how it may end, what it may and may not say.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import t from 'tap';
import { BubblewrapDriver } from '../../src/sandbox/driver.js';
import type { ExecEnd, Sandbox } from '../../src/sandbox/sandbox.js';

interface HostileCase {
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

type Ending = 'exit' | 'timeout' | 'oom' | 'output' | 'disk' | 'signal' | 'died';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const cases: readonly HostileCase[] = JSON.parse(
  readFileSync(join(root, 'test/attacks/hostile-cases.json'), 'utf8'),
);

const MIB = 1024 * 1024;
const OUTPUT_BYTES = 4 * MIB;
const LIMITS = {
  memoryBytes: 192 * MIB,
  cpuPercent: 100,
  diskBytes: 256 * MIB,
  maxInodes: 50_000,
  maxProcesses: 48,
  maxOpenFiles: 256,
};
const NO_NETWORK = { allow: [], mayBePrivate: [] };

const directory = mkdtempSync(join(tmpdir(), 'hostile-'));
const canary = join(directory, 'canary');
writeFileSync(canary, 'untouched');
const kernelSetting = () => readFileSync('/proc/sys/kernel/core_pattern', 'utf8');
const settingBefore = kernelSetting();

const driver = new BubblewrapDriver({
  dataDir: join(directory, 'data'),
  log: pino({ level: 'silent' }),
  minimum: 'rootNoUserns',
  uids: { first: 230_000, count: 1000 },
  agentIdleMs: 60_000,
});
await driver.start();
const { level, missing, limits } = driver.isolation;
const hostServer = createServer((socket) => socket.end('host'));
await new Promise<void>((resolve) => hostServer.listen(0, '127.0.0.1', resolve));

t.teardown(async () => {
  hostServer.close();
  await driver.close();
  rmSync(directory, { recursive: true, force: true });
});

if (level === null) t.plan(0, `no sandbox on this host: ${missing[0]?.what}`);
else await runAll();

async function runAll() {
  const spec = { limits: LIMITS, env: {}, egress: NO_NETWORK };
  const other = await driver.create({ ...spec, id: 'other' });
  const sandbox = await driver.create({ ...spec, id: 'hostile' });
  const place: Record<string, string> = {
    '@CANARY_FILE@': canary,
    '@OTHER_WORKSPACE@': join(directory, 'data', 'sandboxes', 'workspaces', other.id, 'workspace'),
    '@HOST_PORT@': String((hostServer.address() as AddressInfo).port),
  };

  for (const hostile of cases) {
    t.test(`${hostile.name}: ${hostile.why}`, { skip: cannotRun(hostile) }, async (t) => {
      const { expect } = hostile;
      const code = Object.entries(place).reduce(
        (text, [from, to]) => text.replaceAll(from, to),
        hostile.code,
      );
      const memoryBefore = process.memoryUsage.rss();
      const race = expect.after?.includes('artifact_no_follow') ? new SymlinkRace(sandbox) : null;
      const done = await run(sandbox, code, expect.end.includes('timeout') ? 1_500 : 30_000);
      await race?.stop();

      const shown = `${done.stdout.slice(0, 2000)}\n${done.stderr.slice(-2000)}`;
      t.ok(
        expect.end.includes(done.ending),
        `ended by ${done.ending}, expected ${expect.end.join(' or ')}: ${shown}`,
      );
      // Compared here and not by tap, which would make a readable difference out of megabytes.
      if (done.ending === 'exit' && expect.stdout) t.ok(new RegExp(expect.stdout).test(done.stdout), shown);
      const forbidden = new RegExp(expect.not ?? '(?!)').exec(`${done.stdout}\n${done.stderr}`);
      t.notOk(forbidden, forbidden ? shown : 'nothing forbidden was said');
      if (expect.max_ms) t.ok(done.ms <= expect.max_ms, `${Math.round(done.ms)} ms`);
      const exitCode = expect.after
        ?.find((check) => check.startsWith('exit_code:'))
        ?.slice('exit_code:'.length);
      if (exitCode !== undefined) t.match(done.end.how, { kind: 'exited', exitCode: Number(exitCode) });
      t.equal(race?.escapes ?? 0, 0, 'a file was read through a swapped symlink');

      t.equal(readFileSync(canary, 'utf8'), 'untouched');
      t.equal(kernelSetting(), settingBefore);
      t.ok(process.memoryUsage.rss() - memoryBefore < 150 * MIB, 'the service’s memory is steady');
      const next = await run(sandbox, 'print("next")', 30_000);
      t.equal(next.stdout, 'next\n', `the next program: ${JSON.stringify(next)}`);
    });
  }

  t.test('nothing is left when the sandboxes are removed', async (t) => {
    await sandbox.remove();
    await other.remove();
    await t.resolves(driver.sweep(new Set()));
  });
}

function cannotRun({ needs }: HostileCase): string | false {
  if (needs === 'cgroup' && limits.cgroup === null) return 'needs control groups';
  if (needs === 'quota' && limits.disk === 'watcher') return 'needs a disk quota';
  if (needs === 'x86_64' && process.arch !== 'x64') return 'the numbers of its calls are those of x64';
  return false;
}

async function run(sandbox: Sandbox, code: string, timeoutMs: number) {
  const output = { stdout: '', stderr: '' };
  let bytes = 0;
  let cause: Ending | undefined;
  const end = (why: Ending) => {
    cause ??= why;
    exec.end(0);
  };
  const begun = performance.now();
  const exec = sandbox.exec(
    {
      program: { kind: 'python', code, args: [] },
      env: {},
      cwd: '.',
      stdin: Buffer.alloc(0),
      stdinOpen: false,
    },
    (stream, chunk) => {
      bytes += chunk.length;
      if (bytes <= OUTPUT_BYTES) output[stream] += chunk.toString('latin1');
      else end('output');
    },
  );
  const timer = setTimeout(() => end('timeout'), timeoutMs);
  const ended = await exec.ended;
  clearTimeout(timer);
  return { ...output, end: ended, ending: cause ?? endingOf(ended), ms: performance.now() - begun };
}

function endingOf({ how, limit }: ExecEnd): Ending {
  if (limit === 'outOfMemory') return 'oom';
  if (limit === 'diskLimit') return 'disk';
  if (how.kind === 'exited') return 'exit';
  return how.kind === 'signaled' ? 'signal' : 'died';
}

/** Reads through a directory that the program swaps for a symlink to /etc, as fast as it can. */
class SymlinkRace {
  escapes = 0;
  #stopped = false;
  readonly #reading: Promise<void>;

  constructor(sandbox: Sandbox) {
    this.#reading = this.#read(sandbox);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#reading;
  }

  async #read({ files }: Sandbox): Promise<void> {
    while (!this.#stopped) {
      await files.read('out/passwd', { maxBytes: 4096 }, AbortSignal.timeout(5_000)).then(
        () => {
          this.escapes += 1;
        },
        () => {},
      );
      await sleep(0);
    }
  }
}
