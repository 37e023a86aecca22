// The client of one agent: pid 1 of a sandbox, which starts programs for us. What it sends is not believed: frames are
// bounded, numbers only name what we know already, and silence is measured by our own clock.
import { deferred } from '../lib/deferred.js';
import type { Logger } from '../observability/logger.js';
import { AttentiveClock } from './attentive-clock.js';
import { AgentHelper, type HelperChannel } from './helper-channel.js';
import type { Launched } from './launch.js';
import type { ProgramExec, ProgramHost } from './program-exec.js';
import type { ProgramGroup } from './program-group.js';
import {
  FROM_AGENT,
  FrameParser,
  frameHeader,
  MAX_PAYLOAD_BYTES,
  ProtocolError,
  TO_AGENT,
} from './protocol.js';
import type { ExecEnd } from './sandbox.js';
import { type Waiting, WaitingProcesses } from './waiting.js';

export type { HelperChannel } from './helper-channel.js';

const HELLO_WITHIN_MS = 15_000;
const BRIDGE_WITHIN_MS = 10_000;
/** From the end of its frames until it must be gone. */
const LEAVE_WITHIN_MS = 1_000;
const TICK_MS = 1_000;
/** A busy agent that says nothing for so many ticks, though it was asked, is dead. */
const SILENT_TICKS = 20;
/** Tries for a process to wait, one after the other without success, after which programs are told so. */
const MAX_FAILED_TRIES = 30;

export interface AgentOptions {
  readonly launched: Launched;
  /** Finds the group for a process that waits for its program; `keeperPid` is what the agent calls it. */
  groupFor(keeperPid: number): Promise<ProgramGroup | null>;
  readonly groupCounts: boolean;
  /** Ended after this long without work; null never. */
  readonly idleMs: number | null;
  /** Takes a program back that had not begun when the agent died. */
  readonly notBegun?: (exec: ProgramExec, why: string) => void;
  readonly log: Logger;
}

export class Agent {
  /** Resolves, never rejects, with the reason when the sandbox is gone and every program was told. */
  readonly ended: Promise<string>;
  readonly clock = new AttentiveClock();
  readonly #options: AgentOptions;
  readonly #hello = deferred();
  readonly #waiting: WaitingProcesses;
  readonly #asking: ProgramExec[] = [];
  readonly #running = new Map<number, { readonly exec: ProgramExec; readonly group: ProgramGroup | null }>();
  readonly #ending = new Set<Promise<unknown>>();
  #helper: AgentHelper | undefined;
  #bridge = deferred();
  #held: Promise<void>[] = [];
  #why: string | undefined;
  /** What asked it was told so. */
  #hasEnded = false;
  #failedTries = 0;
  #silentTicks = 0;
  readonly #tick: NodeJS.Timeout;
  readonly #idle: NodeJS.Timeout | undefined;

  constructor(options: AgentOptions) {
    this.#options = options;
    const { launched, groupFor, idleMs, log } = options;
    this.#waiting = new WaitingProcesses({
      groupFor,
      log,
      discard: ({ id, group }) => this.#giveBack(id, group),
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
    this.#bridge.promise.catch(() => {});
    const late = this.clock.after(HELLO_WITHIN_MS, () => this.kill('it did not start in time'));
    this.#hello.promise.then(late, late);
    this.#tick = setInterval(() => this.#checkSilence(), TICK_MS).unref();
    if (idleMs !== null) this.#idle = setTimeout(() => this.#endWhenIdle(), idleMs).unref();
    this.ended = this.#afterEnd();
  }

  /** Resolves when the agent takes programs; rejects when it ended before. */
  get ready(): Promise<void> {
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
    return this.#running.size > 0 || this.#asking.length > 0 || this.#helper?.isWaiting === true;
  }

  /** Starts the program as soon as a confined process waits for it. */
  run(exec: ProgramExec): void {
    if (this.#hasEnded) {
      void this.#notBegun(exec);
      return;
    }
    this.#touch();
    this.#asking.push(exec);
    this.#serve();
    if (this.#asking.length > 0) this.#send(TO_AGENT.want, 0);
  }

  /** The helper that lives, or a new one. */
  connectHelper(): HelperChannel {
    if (!this.#helper || this.#helper.isClosed) {
      this.#helper = new AgentHelper({
        sendMessage: (message) => {
          this.#touch();
          this.#send(TO_AGENT.helper, 0, message);
        },
        killHelper: () => this.#send(TO_AGENT.helperKill, 0),
      });
    }
    return this.#helper;
  }

  /** Has connections carried to the egress socket, or not any more. Resolves when they are. */
  bridge(isWanted: boolean): Promise<void> {
    this.#bridge = deferred();
    this.#bridge.promise.catch(() => {});
    if (this.isGone) this.#bridge.reject(new Error('the sandbox is gone'));
    this.#send(TO_AGENT.bridge, isWanted ? 1 : 0);
    const { promise, reject } = this.#bridge;
    const giveUp = this.clock.after(BRIDGE_WITHIN_MS, () => reject(new Error('the bridge did not come up')));
    void promise.then(giveUp, giveUp);
    return promise;
  }

  /** Takes everything in the sandbox away; `ended` says when it is gone. */
  kill(why: string): void {
    this.#why ??= why;
    this.#options.launched.kill();
  }

  async #afterEnd(): Promise<string> {
    const { code, signal, stderr } = await this.#options.launched.ended;
    clearInterval(this.#tick);
    clearTimeout(this.#idle);
    this.#why ??= stderr.trim().slice(-2000) || `it ended with ${signal ?? `code ${code}`}`;
    const why = new Error(`the sandbox ended: ${this.#why}`);
    this.clock.clear();
    this.#hello.reject(why);
    this.#bridge.reject(why);
    this.#helper?.close(why);
    this.#waiting.close();
    this.#hasEnded = true;
    for (const exec of this.#asking.splice(0)) await this.#notBegun(exec);
    for (const { exec, group } of [...this.#running.values()]) {
      await exec.sandboxDied(why.message);
      this.#remove(group);
    }
    this.#running.clear();
    await Promise.allSettled([...this.#ending]);
    return this.#why;
  }

  /** Nothing runs it here any more. */
  async #notBegun(exec: ProgramExec): Promise<void> {
    const why = `the sandbox ended: ${this.#why}`;
    if (this.#options.notBegun) this.#options.notBegun(exec, why);
    else await exec.sandboxDied(why);
  }

  #receive(parser: FrameParser, chunk: Buffer): void {
    this.#silentTicks = 0;
    if (this.isGone) return;
    try {
      parser.push(chunk);
    } catch (error) {
      // Whatever goes wrong with what it said costs its own sandbox, and never the service.
      this.#options.log.warn({ err: error }, 'agent spoke nonsense');
      this.kill('its agent spoke nonsense');
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
        this.#output(id, 'stdout', payload);
        return;
      case FROM_AGENT.stderr:
        this.#output(id, 'stderr', payload);
        return;
      case FROM_AGENT.exited:
        this.#exited(id, payload);
        return;
      case FROM_AGENT.waiting:
        this.#processWaits(id, payload);
        return;
      case FROM_AGENT.notWaiting:
        this.#processDoesNotWait(id, payload);
        return;
      case FROM_AGENT.stdinTaken:
        this.#confirmed(this.#running.get(id)?.exec.stdin, payload);
        return;
      case FROM_AGENT.stdinGone:
        this.#running.get(id)?.exec.stdinGone();
        return;
      case FROM_AGENT.helper:
        this.#touch();
        this.#helper?.received(payload);
        return;
      case FROM_AGENT.helperTaken:
        this.#confirmed(this.#helper, payload);
        return;
      case FROM_AGENT.helperEnded:
        this.#helper?.close(new Error('the file helper ended'));
        this.#helper = undefined;
        return;
      case FROM_AGENT.bridge:
        if (id === 1) this.#bridge.resolve();
        else this.#bridge.reject(new Error('the bridge ended'));
        return;
      case FROM_AGENT.hello:
        this.#hello.resolve();
        return;
      case FROM_AGENT.pong:
        return;
      default:
        throw new ProtocolError(`there is no frame of type ${JSON.stringify(type)}`);
    }
  }

  #output(id: number, stream: 'stdout' | 'stderr', chunk: Buffer): void {
    const exec = this.#running.get(id)?.exec;
    const held = exec?.isSettled === false && exec.sink(stream, chunk);
    if (held) this.#held.push(held);
  }

  #confirmed(window: { confirm(count: number): boolean } | undefined, payload: Buffer): void {
    if (payload.length !== 4) throw new ProtocolError('a confirmation is not a number');
    if (window && !window.confirm(payload.readUInt32BE(0))) {
      throw new ProtocolError('more was confirmed than was sent');
    }
  }

  #processWaits(id: number, payload: Buffer): void {
    const added = this.#waiting.add(id, payload);
    this.#failedTries = 0;
    void added.then(() => this.#serve());
  }

  #processDoesNotWait(id: number, payload: Buffer): void {
    const running = this.#running.get(id);
    if (running && !running.exec.isSettled) {
      // It was chosen for a program and went before it had the request: the agent knows nothing of that program.
      this.#running.delete(id);
      this.#remove(running.group);
      running.exec.settle(noProcess('the one that waited ended before the program began'));
      return;
    }
    this.#remove(this.#waiting.remove(id)?.group);
    if (this.#waiting.knows(id)) return;
    this.#failedTries += 1;
    if (this.#failedTries < MAX_FAILED_TRIES) return;
    const said = payload.toString('utf8').slice(0, 2000);
    this.#options.log.warn({ said }, 'no process for a program');
    for (const exec of this.#asking.splice(0)) exec.settle(noProcess(said));
    this.#failedTries = 0;
  }

  #serve(): void {
    if (this.isGone) return;
    while (this.#asking[0]?.isSettled) this.#asking.shift();
    while (this.#asking.length > 0 && !this.#waiting.isEmpty) {
      const exec = this.#asking.shift()!;
      if (!exec.isSettled) void this.#start(exec, this.#waiting.take()!);
    }
  }

  async #start(exec: ProgramExec, { id, group }: Waiting): Promise<void> {
    this.#running.set(id, { exec, group });
    if (exec.memoryBytes !== undefined) {
      await group?.limitMemory(exec.memoryBytes).catch((error: unknown) => {
        this.#options.log.warn({ err: error }, 'no memory limit for a program');
      });
      if (!this.#running.has(id)) return;
      if (exec.isSettled) return this.#giveBack(id, group);
    }
    exec.begin(this.#hostOf(id, group));
    const { request } = exec;
    let at = 0;
    for (; at + MAX_PAYLOAD_BYTES < request.length; at += MAX_PAYLOAD_BYTES) {
      this.#send(TO_AGENT.run, id, request.subarray(at, at + MAX_PAYLOAD_BYTES));
    }
    this.#send(TO_AGENT.runLast, id, request.subarray(at));
  }

  /** No program comes for it. */
  #giveBack(id: number, group: ProgramGroup | null): void {
    this.#running.delete(id);
    this.#send(TO_AGENT.kill, id);
    this.#remove(group);
  }

  #hostOf(id: number, group: ProgramGroup | null): ProgramHost {
    return {
      clock: this.clock,
      group,
      groupCounts: this.#options.groupCounts,
      sendStdin: (bytes) => this.#send(TO_AGENT.stdin, id, bytes),
      sendStdinEnd: () => this.#send(TO_AGENT.stdinEnd, id),
      terminate: () => this.#send(TO_AGENT.terminate, id),
      kill: () => this.#send(TO_AGENT.kill, id),
      killSandbox: (why) => this.kill(why),
    };
  }

  #exited(id: number, payload: Buffer): void {
    const running = this.#running.get(id);
    if (!running) return;
    const { exec, group } = running;
    if (!exec.hasBegun) throw new ProtocolError('a program ended that was not begun');
    const report: unknown = JSON.parse(payload.toString('utf8'));
    const ending = exec.exited(report).then(() => {
      if (!exec.isSettled) return;
      this.#running.delete(id);
      this.#touch();
      this.#remove(group);
    });
    this.#ending.add(ending);
    void ending.finally(() => this.#ending.delete(ending));
  }

  #remove(group: ProgramGroup | null | undefined): void {
    if (!group) return;
    const removing = group.remove().catch((error: unknown) => {
      this.#options.log.warn({ err: error }, 'limit group of a program not removed');
    });
    this.#ending.add(removing);
    void removing.finally(() => this.#ending.delete(removing));
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
    if (this.isBusy || !this.clock.isRunning) this.#touch();
    else this.kill('it was idle');
  }

  #checkSilence(): void {
    if (!this.isBusy || !this.clock.isRunning) {
      this.#silentTicks = 0;
      return;
    }
    this.#silentTicks += 1;
    if (this.#silentTicks >= SILENT_TICKS) this.kill('its agent did not answer');
    else if (this.#silentTicks > 1) this.#send(TO_AGENT.ping, 0);
  }
}

const EMPTY = new Uint8Array(0);

/** The end of a program for which there is no process; it may be submitted again. */
function noProcess(why: string): ExecEnd {
  const message = `no process could be made: ${why}`;
  return { how: { kind: 'spawnFailed', code: 'EAGAIN', message }, processesKilled: 0 };
}
