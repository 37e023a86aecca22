// One program, from being asked for until nothing of it is left. How it ends is decided by our own clock: the agent is
// told, and when it does not confirm in time, the program's group is killed, and then the whole sandbox.
import { constants } from 'node:os';
import { deferred } from '../lib/deferred.js';
import type { AttentiveClock, CouldAnswer } from './attentive-clock.js';
import type { ProgramGroup } from './program-group.js';
import {
  type Exec,
  type ExecEnd,
  type ExecRequest,
  type LimitReached,
  notStarted,
  type OutputSink,
  StdinGone,
} from './sandbox.js';
import { SendWindow } from './send-window.js';

const STDIN_UNDER_WAY = 256 * 1024;
/** From SIGKILL until the agent must have confirmed; then from killing the group until the sandbox is killed. */
const CONFIRM_WITHIN_MS = 1_000;
const GROUP_GONE_WITHIN_MS = 1_000;

const NO_SPACE = /No space left on device|Disk quota exceeded|ENOSPC|EDQUOT/;
/** Of a piece of stderr: what kills a program is said at its end. */
const ERROR_WORDS_BYTES = 4096;

/** What a program needs of the agent that runs it. */
export interface ProgramHost {
  readonly clock: AttentiveClock;
  /** The program's own group; null when none could be made. */
  readonly group: ProgramGroup | null;
  /** What the group tells about usage is better than what the agent tells. */
  readonly groupCounts: boolean;
  sendStdin(bytes: Uint8Array): void;
  sendStdinEnd(): void;
  terminate(): void;
  kill(): void;
  /** The last resort: takes the sandbox and all in it away. */
  killSandbox(why: string, facts?: object): void;
  /** Looks at whether the agent could have answered, from now on. */
  couldAnswer(): CouldAnswer;
}

export class ProgramExec implements Exec {
  readonly #ended = deferred<ExecEnd>();
  readonly ended = this.#ended.promise;
  readonly stdin = new SendWindow(STDIN_UNDER_WAY);
  readonly sink: OutputSink;
  readonly #askToStart: () => Promise<void>;
  #mayStart: Promise<boolean> | undefined;
  #saidNoSpace = false;
  #host: ProgramHost | undefined;
  #isSettled = false;
  #isTerminated = false;
  #isKilled = false;
  #grace: NodeJS.Timeout | undefined;
  #patience = () => {};
  #exceeded: Pick<ExecEnd, 'limit' | 'reached'> | undefined;
  /** Members of the program's group when it was to be killed, for an agent that cannot say how many those were. */
  #seenAtKill: number | undefined;
  /** The same, when we had to kill it ourselves. */
  #killedByUs = 0;

  constructor(
    /** As the agent takes it, JSON. */
    readonly request: Buffer,
    readonly memoryBytes: number | undefined,
    input: Pick<ExecRequest, 'stdin' | 'stdinOpen' | 'mayStart'>,
    sink: OutputSink,
  ) {
    this.#askToStart = input.mayStart ?? (() => Promise.resolve());
    this.sink = (stream, chunk) => {
      if (stream === 'stderr')
        this.#saidNoSpace ||= NO_SPACE.test(chunk.subarray(-ERROR_WORDS_BYTES).toString('latin1'));
      return sink(stream, chunk);
    };
    this.stdin.write(input.stdin).catch(() => {});
    if (!input.stdinOpen) this.stdin.end();
  }

  /** It complained on stderr that there is no room, wherever that was. */
  get saidNoSpace(): boolean {
    return this.#saidNoSpace;
  }

  get isSettled(): boolean {
    return this.#isSettled;
  }

  async writeStdin(chunk: Uint8Array, close: boolean): Promise<void> {
    if (this.stdin.isEnding) throw new StdinGone('standard input was closed');
    const taken = this.stdin.write(chunk);
    if (close) this.stdin.end();
    await taken;
  }

  end(graceMs: number): void {
    if (this.#isSettled || this.#isKilled) return;
    if (!this.#host) {
      this.settle({ how: { kind: 'calledOff' }, processesKilled: 0 });
      return;
    }
    clearTimeout(this.#grace);
    if (graceMs <= 0) {
      this.#kill(this.#host);
      return;
    }
    if (!this.#isTerminated) this.#host.terminate();
    this.#isTerminated = true;
    this.#grace = setTimeout(() => this.#kill(this.#host!), graceMs);
  }

  /** It is over a limit that is watched and not held by the kernel: this is why it ends. */
  exceed(limit: NonNullable<ExecEnd['limit']>, reached: LimitReached): void {
    if (this.#isSettled || this.#exceeded) return;
    this.#exceeded = { limit, reached };
    this.end(0);
  }

  /** Memory of all its processes now; exact only when it is more than `bytes`. */
  async memoryUsed(bytes: number): Promise<number> {
    return (await this.#host?.group?.memoryUsed(bytes)) ?? 0;
  }

  /** Resolves with true as soon as the program may run, with false when it may not. Asks once, also when the process that
   *  was to become the program is lost and another takes its place. */
  mayStart(): Promise<boolean> {
    this.#mayStart ??= this.#askToStart().then(
      () => true,
      () => false,
    );
    return this.#mayStart;
  }

  /** Known once it was given a process. */
  get group(): ProgramGroup | null {
    return this.#host?.group ?? null;
  }

  /** The request is on its way. */
  begin(host: ProgramHost): void {
    this.#host = host;
    this.stdin.open(
      (bytes) => host.sendStdin(bytes),
      () => host.sendStdinEnd(),
    );
  }

  stdinGone(): void {
    this.stdin.fail(new StdinGone('nobody reads standard input any more'));
  }

  /** The agent says that all of the program is gone, and how it went; `report` may be anything. */
  async exited(report: unknown): Promise<void> {
    try {
      const { group, groupCounts } = this.#host!;
      const said = readReport(report);
      const usage = groupCounts ? await group?.usage() : undefined;
      const oomKills = group?.oomKills() ?? 0;
      if (group && group.members() > 0) await group.kill();
      const { how } = said;
      const limit =
        oomKills > 0
          ? 'outOfMemory'
          : how.kind === 'signaled' && how.signal === 'SIGXFSZ'
            ? 'diskLimit'
            : undefined;
      const killed =
        said.processesKilled ?? (this.#seenAtKill !== undefined ? Math.max(1, this.#seenAtKill) : 0);
      this.settle({
        how,
        ...(limit ? { limit } : {}),
        processesKilled: Math.max(killed, this.#killedByUs),
        cpuMs: usage?.cpuMs ?? said.cpuMs,
        peakMemoryBytes: usage?.peakMemoryBytes ?? said.peakMemoryBytes,
      });
    } catch (error) {
      // Something of it may be left: only the end of the whole sandbox, which settles us, can be vouched for.
      this.#host!.killSandbox('what a program left could not be removed', { err: error });
    }
  }

  /** The agent is gone, and with it everything in the sandbox. */
  async sandboxDied(message: string): Promise<void> {
    const oomKills = this.#host?.group?.oomKills();
    this.settle({
      how: this.#isKilled ? { kind: 'signaled', signal: 'SIGKILL' } : { kind: 'sandboxDied', message },
      ...(oomKills ? { limit: 'outOfMemory' as const } : {}),
      processesKilled: this.#host ? Math.max(1, this.#killedByUs) : 0,
    });
  }

  settle(end: ExecEnd): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    clearTimeout(this.#grace);
    this.#patience();
    this.stdin.fail(new StdinGone('the program has ended'));
    this.#ended.resolve({ ...end, ...this.#exceeded });
  }

  #kill(host: ProgramHost): void {
    if (this.#isSettled || this.#isKilled) return;
    this.#isKilled = true;
    this.#seenAtKill = countMembers(host);
    host.kill();
    this.#patience = host.clock.after(CONFIRM_WITHIN_MS, () => void this.#killGroup(host));
  }

  async #killGroup(host: ProgramHost): Promise<void> {
    this.#patience = host.clock.after(
      GROUP_GONE_WITHIN_MS,
      () => host.killSandbox('it did not end a program that was to be killed'),
      host.couldAnswer(),
    );
    this.#killedByUs = countMembers(host);
    await host.group?.kill().catch(() => {});
  }
}

/** A number that is only told; that it cannot be had must not be in the way of a kill. */
function countMembers({ group }: ProgramHost): number {
  try {
    return group?.members() ?? 0;
  } catch {
    return 0;
  }
}

/** Of a program for which no sandbox could be had. */
export function didNotStart(error: unknown): ExecEnd {
  const { cause, message } = notStarted(error);
  return { how: { kind: cause, message }, processesKilled: 0 };
}

/** Where a signal has several names, the first is the usual one. */
const SIGNAL_NAMES = new Map(
  Object.entries(constants.signals)
    .reverse()
    .map(([name, number]) => [number, name]),
);

type Report = Pick<ExecEnd, 'how' | 'cpuMs' | 'peakMemoryBytes'> & {
  /** Undefined when its keeper had to be killed, and so could not count. */
  readonly processesKilled: number | undefined;
};

/** What the agent said of an end, with every value made one that we would say ourselves. */
function readReport(report: unknown): Report {
  const said = (typeof report === 'object' && report !== null ? report : {}) as Record<string, unknown>;
  return {
    how: readHow(said),
    processesKilled: count(said.killed),
    cpuMs: count(said.cpuMs),
    peakMemoryBytes: count(said.peakMemoryBytes),
  };
}

function readHow({ failed, signal, exitCode }: Record<string, unknown>): ExecEnd['how'] {
  if (typeof failed === 'object' && failed !== null) {
    const { code, message } = failed as Record<string, unknown>;
    return { kind: 'spawnFailed', code: text(code, 64), message: text(message, 2000) };
  }
  const code = count(exitCode);
  if (code !== undefined && code <= 255) return { kind: 'exited', exitCode: code };
  const number = count(signal) ?? constants.signals.SIGKILL;
  return { kind: 'signaled', signal: SIGNAL_NAMES.get(number) ?? `SIG${Math.min(number, 255)}` };
}

const text = (value: unknown, maxChars: number) =>
  typeof value === 'string' ? value.slice(0, maxChars) : 'unknown';

const count = (value: unknown) =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
