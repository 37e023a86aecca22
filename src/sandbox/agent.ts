// The client of one agent: pid 1 of a sandbox, which starts programs for us. What it sends is not believed: frames are
// bounded, numbers only name what we know already, and silence is measured by our own clock.
import { deferred } from '../lib/deferred.js';
import type { Logger } from '../observability/logger.js';
import { AgentBridge } from './agent-bridge.js';
import { AgentHeartbeat } from './agent-heartbeat.js';
import { AgentPrograms } from './agent-programs.js';
import { AttentiveClock, type CouldAnswer } from './attentive-clock.js';
import { AgentHelpers, type HelperChannel } from './helper-channel.js';
import type { Launched } from './launch.js';
import { type ProcessorReading, ProcessorTime, readProcessor } from './processor-time.js';
import { didNotStart, type ProgramExec } from './program-exec.js';
import type { ProgramGroup } from './program-group.js';
import { confirmed, FROM_AGENT, FrameParser, frameHeader, ProtocolError, TO_AGENT } from './protocol.js';
import { SandboxStartTimedOut } from './sandbox.js';

export type { HelperChannel } from './helper-channel.js';

/** From the end of its frames until it must be gone. */
const LEAVE_WITHIN_MS = 1_000;

export interface AgentOptions {
  readonly launched: Launched;
  /** Finds the group for a process that waits for its program; `keeperPid` is what the agent calls it. */
  groupFor(keeperPid: number): Promise<ProgramGroup | null>;
  readonly groupCounts: boolean;
  /** Ended after this long without work; null never. */
  readonly idleMs: number | null;
  /** Ended when it is not ready within this time, in which it could have been. */
  readonly startWithinMs: number;
  /** What that is a part of, for whoever is told. */
  readonly startLimitMs: number;
  /** It is to run programs, and ready when it can. */
  readonly programs: boolean;
  /** It loads modules for them once it is ready. */
  readonly preloads: boolean;
  /** Takes a program back that had not begun when the agent died. */
  readonly notBegun?: (exec: ProgramExec, why: string) => void;
  /** A look at its processor time. Default: the kernel's. */
  readonly readProcessor?: () => ProcessorReading | undefined;
  readonly log: Logger;
}

export class Agent {
  /** Resolves, never rejects, with the reason when the sandbox is gone and every program was told. */
  readonly ended: Promise<string>;
  readonly clock = new AttentiveClock();
  readonly #options: AgentOptions;
  /** It speaks. */
  readonly #hello = deferred();
  /** It takes work. */
  readonly #ready = deferred();
  /** All that its start makes it do is done. */
  readonly #calm = deferred();
  readonly #programs: AgentPrograms;
  readonly #helpers: AgentHelpers;
  readonly #bridge: AgentBridge;
  readonly #heartbeat: AgentHeartbeat;
  #held: Promise<void>[] = [];
  #why: string | undefined;
  #saidHello = false;
  #startTimedOut: SandboxStartTimedOut | undefined;
  readonly #idle: NodeJS.Timeout | undefined;

  constructor(options: AgentOptions) {
    this.#options = options;
    const { launched, groupFor, groupCounts, idleMs, log, preloads, startWithinMs } = options;
    const couldAnswer = () => this.#couldAnswer();
    this.#programs = new AgentPrograms({
      ...{ clock: this.clock, groupFor, groupCounts, couldAnswer, log },
      send: (type, id, payload) => this.#send(type, id, payload),
      killSandbox: (why, facts) => this.kill(why, facts),
      isGone: () => this.isGone,
      ready: (timesLoaded) => {
        this.#ready.resolve();
        if (timesLoaded > 0 || !preloads) this.#calm.resolve();
      },
      ended: () => this.#touch(),
      notBegun: (exec, why) => this.#didNotBegin(exec, why),
      holdReading: (held) => this.#held.push(held),
    });
    this.#helpers = new AgentHelpers({
      sendMessage: (number, message) => {
        this.#touch();
        this.#send(TO_AGENT.helper, number, message);
      },
      killHelper: (number) => this.#send(TO_AGENT.helperKill, number),
    });
    this.#bridge = new AgentBridge({
      ...{ clock: this.clock, couldAnswer, hello: this.#hello.promise },
      ask: (isWanted) => this.#send(TO_AGENT.bridge, isWanted ? 1 : 0),
    });
    this.#heartbeat = new AgentHeartbeat({
      isAwaited: () => this.isBusy && this.clock.isRunning,
      couldAnswer: couldAnswer(),
      ask: () => this.#send(TO_AGENT.ping, 0),
      dead: (reading) => this.kill('its agent did not answer', { reading }),
    });
    const parser = new FrameParser(
      (type, id, payload) => this.#handle(type, id, payload),
      [FROM_AGENT.stdout, FROM_AGENT.stderr],
    );
    launched.stdout.on('data', (chunk: Buffer) => this.#receive(parser, chunk));
    launched.stdout.on('end', () =>
      this.clock.after(LEAVE_WITHIN_MS, () => this.kill('its agent closed the connection')),
    );
    launched.stdin.on('error', () => {});
    const late = this.clock.after(startWithinMs, () => this.#startIsLate(), couldAnswer());
    this.#ready.promise.then(late, late);
    this.#hello.promise.catch(() => {});
    this.#calm.promise.catch(() => {});
    if (idleMs !== null) this.#idle = setTimeout(() => this.#endWhenIdle(), idleMs).unref();
    this.ended = this.#afterEnd();
  }

  /** Resolves when the agent takes work: of one for programs, when a confined process waits for the first one. Rejects
   *  when it ended before. */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  /** Resolves when its start takes no more of the processor: it loads modules after it is ready, while no program runs.
   *  Rejects when it ended before. */
  get calm(): Promise<void> {
    return this.#calm.promise;
  }

  /** Resolves when it speaks, and so can start a file helper. Rejects when it ended before. */
  get speaks(): Promise<void> {
    return this.#hello.promise;
  }

  /** Of its bubblewrap, on the host. */
  get pid(): number {
    return this.#options.launched.pid;
  }

  get isGone(): boolean {
    return this.#why !== undefined;
  }

  get isBusy(): boolean {
    return this.#programs.isBusy || this.#helpers.isBusy;
  }

  /** Starts the program as soon as a confined process waits for it. */
  run(exec: ProgramExec): void {
    this.#touch();
    this.#programs.run(exec);
  }

  /** The helper that takes work, or a new one. */
  connectHelper(): HelperChannel {
    this.#touch();
    return this.#helpers.connect();
  }

  /** Has connections carried to the egress socket, or not any more. Resolves when they are. */
  bridge(isWanted: boolean): Promise<void> {
    return this.#bridge.want(isWanted);
  }

  /** Takes everything in the sandbox away; `ended` says when it is gone. What else there is to say goes to the log. */
  kill(why: string, facts?: object): void {
    if (!this.isGone) {
      this.#why = why;
      if (facts) this.#options.log.warn({ ...facts, why }, 'sandbox killed');
    }
    this.#options.launched.kill();
  }

  /** Looks at whether the agent could have answered, from now on. */
  #couldAnswer(): CouldAnswer {
    const { launched, readProcessor: read = () => readProcessor(launched.innerPid) } = this.#options;
    const time = new ProcessorTime(read);
    return () => time.couldAnswer();
  }

  #startIsLate(): void {
    const { startLimitMs } = this.#options;
    this.#startTimedOut = new SandboxStartTimedOut(startLimitMs);
    this.kill('it did not start in time', { startLimitMs, saidHello: this.#saidHello });
  }

  async #afterEnd(): Promise<string> {
    const { code, signal, stderr } = await this.#options.launched.ended;
    this.#heartbeat.stop();
    clearTimeout(this.#idle);
    if (this.#why === undefined) {
      this.#why = `it ended with ${signal ?? `code ${code}`}`;
      // What bubblewrap and pid 1 say names places of this host: it is for the log.
      this.#options.log.warn({ stderr: stderr.trim().slice(-2000), why: this.#why }, 'sandbox ended');
    }
    const why = this.#startTimedOut ?? new Error(`the sandbox ended: ${this.#why}`);
    this.clock.clear();
    this.#hello.reject(why);
    this.#ready.reject(why);
    this.#calm.reject(why);
    this.#bridge.close(why);
    this.#helpers.close(why);
    await this.#programs.close(why);
    return this.#why;
  }

  /** Nothing of the program has run: another agent may take it. */
  async #didNotBegin(exec: ProgramExec, why: Error): Promise<void> {
    const { notBegun } = this.#options;
    if (why instanceof SandboxStartTimedOut) exec.settle(didNotStart(why));
    else if (notBegun) notBegun(exec, why.message);
    else await exec.sandboxDied(why.message);
  }

  #receive(parser: FrameParser, chunk: Buffer): void {
    this.#heartbeat.heard();
    if (this.isGone) return;
    try {
      parser.push(chunk);
    } catch (error) {
      // Whatever goes wrong with what it said costs its own sandbox, and never the service.
      this.kill('its agent spoke nonsense', { err: error });
      return;
    }
    if (this.#held.length > 0) void this.#waitForReaders(this.#held.splice(0));
  }

  /** What reads the output is slow: nothing more is read, and the agent's silence is not its fault. */
  async #waitForReaders(held: readonly Promise<void>[]): Promise<void> {
    const { stdout } = this.#options.launched;
    stdout.pause();
    this.clock.pause();
    await Promise.allSettled(held);
    this.clock.resume();
    stdout.resume();
  }

  #handle(type: string, id: number, payload: Buffer): void {
    switch (type) {
      case FROM_AGENT.stdout:
        this.#programs.output(id, 'stdout', payload);
        return;
      case FROM_AGENT.stderr:
        this.#programs.output(id, 'stderr', payload);
        return;
      case FROM_AGENT.exited:
        this.#programs.exited(id, payload);
        return;
      case FROM_AGENT.waiting:
        this.#programs.processWaits(id, payload);
        return;
      case FROM_AGENT.notWaiting:
        this.#programs.processDoesNotWait(id, payload);
        return;
      case FROM_AGENT.stdinTaken:
        confirmed(this.#programs.stdinOf(id), payload);
        return;
      case FROM_AGENT.stdinGone:
        this.#programs.stdinGone(id);
        return;
      case FROM_AGENT.helper:
        this.#touch();
        this.#helpers.received(id, payload);
        return;
      case FROM_AGENT.helperTaken:
        confirmed(this.#helpers.windowOf(id), payload);
        return;
      case FROM_AGENT.helperEnded:
        this.#helpers.ended(id);
        return;
      case FROM_AGENT.bridge:
        this.#bridge.said(id === 1);
        return;
      case FROM_AGENT.hello:
        this.#saidHello = true;
        this.#hello.resolve();
        if (this.#options.programs) return;
        this.#ready.resolve();
        this.#calm.resolve();
        return;
      case FROM_AGENT.pong:
        return;
      default:
        throw new ProtocolError(`there is no frame of type ${JSON.stringify(type)}`);
    }
  }

  #send(type: string, id: number, payload: Uint8Array = EMPTY): void {
    const { stdin } = this.#options.launched;
    if (this.isGone || stdin.destroyed) return;
    stdin.cork();
    stdin.write(frameHeader(type, id, payload.length));
    if (payload.length > 0) stdin.write(payload);
    stdin.uncork();
  }

  #touch(): void {
    this.#idle?.refresh();
  }

  #endWhenIdle(): void {
    // By our own account: nothing was asked of it, and nothing is awaited of it.
    if (this.isBusy || !this.clock.isRunning) this.#touch();
    else this.kill('it was idle');
  }
}

const EMPTY = new Uint8Array(0);
