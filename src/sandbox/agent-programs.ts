// The programs of one agent: those that ask for a process, the processes that wait for a program, and what runs. What the
// agent says of them is judged by what we know: a process that was never given a program has none that could end.
import type { Logger } from '../observability/logger.js';
import type { AttentiveClock, CouldAnswer } from './attentive-clock.js';
import type { ProgramExec, ProgramHost } from './program-exec.js';
import type { ProgramGroup } from './program-group.js';
import { MAX_PAYLOAD_BYTES, ProtocolError, TO_AGENT } from './protocol.js';
import { type Waiting, WaitingProcesses } from './waiting.js';

/** Tries for a process to wait, one after the other without success, after which programs are told so. */
const MAX_FAILED_TRIES = 30;

export interface AgentProgramsOptions {
  readonly clock: AttentiveClock;
  /** Finds the group for a process that waits for its program; `keeperPid` is what the agent calls it. */
  groupFor(keeperPid: number): Promise<ProgramGroup | null>;
  readonly groupCounts: boolean;
  readonly couldAnswer: () => CouldAnswer;
  send(type: string, id: number, payload?: Uint8Array): void;
  killSandbox(why: string, facts?: object): void;
  /** The agent takes no programs any more. */
  isGone(): boolean;
  /** Programs can be run, or it is known why not; modules were loaded for them so often. */
  ready(timesLoaded: number): void;
  /** A program has ended. */
  ended(): void;
  /** Takes a program back that had not begun when the agent died. */
  notBegun(exec: ProgramExec, why: Error): Promise<void>;
  /** More output is not read before this settles. */
  holdReading(held: Promise<void>): void;
  readonly log: Logger;
}

/** A program that has a process. */
interface Started {
  readonly exec: ProgramExec;
  readonly group: ProgramGroup | null;
  /** Its request was sent to the end, so that it may have run. */
  hasBegun: boolean;
}

const LOST_PROCESS = {
  code: 'EAGAIN',
  message:
    'The process that waited for the program ended before it took it, perhaps for want of memory; nothing of the program has run. Submit the task again.',
};

export class AgentPrograms {
  readonly #options: AgentProgramsOptions;
  readonly #waiting: WaitingProcesses;
  readonly #asking: ProgramExec[] = [];
  readonly #running = new Map<number, Started>();
  readonly #ending = new Set<Promise<unknown>>();
  /** Set when everything in the sandbox is gone, and every program was told. */
  #end: Error | undefined;
  #failedTries = 0;

  constructor(options: AgentProgramsOptions) {
    this.#options = options;
    const { groupFor, log } = options;
    this.#waiting = new WaitingProcesses({
      groupFor,
      log,
      discard: ({ id, group }) => this.#giveBack(id, group),
    });
  }

  get isBusy(): boolean {
    return this.#running.size > 0 || this.#asking.length > 0;
  }

  /** Starts the program as soon as a confined process waits for it. */
  run(exec: ProgramExec): void {
    if (this.#end) return void this.#options.notBegun(exec, this.#end);
    this.#asking.push(exec);
    this.#serveOrAsk();
  }

  processWaits(id: number, payload: Buffer): void {
    const added = this.#waiting.add(id, payload);
    this.#failedTries = 0;
    void added.then(() => {
      this.#options.ready(this.#waiting.timesLoaded);
      this.#serve();
    });
  }

  /** The process of this number is gone, or could not be made. */
  processDoesNotWait(id: number, payload: Buffer): void {
    this.#remove(this.#waiting.remove(id)?.group);
    const started = this.#running.get(id);
    if (started?.hasBegun) {
      // An agent says so only when it has not read the request; whatever else it may be, nothing of it is left.
      this.#isOver(id, started, { failed: LOST_PROCESS });
      return;
    }
    if (started) this.#chooseAnother(id, started);
    else if (this.#waiting.knows(id)) return;
    this.#failedTries += 1;
    if (this.#failedTries < MAX_FAILED_TRIES) return;
    const said = payload.toString('utf8').slice(0, 2000);
    this.#options.log.warn({ said }, 'no process for a program');
    for (const exec of this.#asking.splice(0)) {
      exec.settle({
        how: { kind: 'spawnFailed', code: 'EAGAIN', message: `no process could be made: ${said}` },
        processesKilled: 0,
      });
    }
    this.#failedTries = 0;
    // It lives, and says what it lacks.
    this.#options.ready(this.#waiting.timesLoaded);
  }

  output(id: number, stream: 'stdout' | 'stderr', chunk: Buffer): void {
    const exec = this.#begun(id)?.exec;
    const held = exec?.isSettled === false && exec.sink(stream, chunk);
    if (held) this.#options.holdReading(held);
  }

  /** Where the program's standard input waits to be taken. */
  stdinOf(id: number): Pick<ProgramExec['stdin'], 'confirm'> | undefined {
    return this.#running.get(id)?.exec.stdin;
  }

  stdinGone(id: number): void {
    this.#begun(id)?.exec.stdinGone();
  }

  exited(id: number, payload: Buffer): void {
    const started = this.#running.get(id);
    if (!started) return;
    if (!started.hasBegun) throw new ProtocolError('a program ended that had not begun');
    this.#isOver(id, started, JSON.parse(payload.toString('utf8')));
  }

  /** Everything in the sandbox is gone. Resolves when every program was told. */
  async close(why: Error): Promise<void> {
    this.#waiting.close();
    this.#end = why;
    const { notBegun } = this.#options;
    for (const exec of this.#asking.splice(0)) await notBegun(exec, why);
    for (const [id, { exec, group, hasBegun }] of [...this.#running]) {
      this.#running.delete(id);
      if (hasBegun) await exec.sandboxDied(why.message);
      else await notBegun(exec, why);
      this.#remove(group);
    }
    await Promise.allSettled([...this.#ending]);
  }

  #begun(id: number): Started | undefined {
    const started = this.#running.get(id);
    return started?.hasBegun ? started : undefined;
  }

  /** Its process is gone, and the program has not begun. */
  #chooseAnother(id: number, { exec, group }: Started): void {
    this.#running.delete(id);
    this.#remove(group);
    this.#asking.unshift(exec);
    this.#serveOrAsk();
  }

  #serveOrAsk(): void {
    this.#serve();
    if (this.#asking.length > 0) this.#options.send(TO_AGENT.want, 0);
  }

  #serve(): void {
    if (this.#options.isGone()) return;
    while (this.#asking[0]?.isSettled) this.#asking.shift();
    while (this.#asking.length > 0 && !this.#waiting.isEmpty) {
      const exec = this.#asking.shift()!;
      if (!exec.isSettled) void this.#start(exec, this.#waiting.take()!);
    }
  }

  async #start(exec: ProgramExec, { id, group }: Waiting): Promise<void> {
    const { send, isGone, log } = this.#options;
    const started: Started = { exec, group, hasBegun: false };
    this.#running.set(id, started);
    // Its start is stored while the request is on its way and the limit is set.
    const asked = exec.mayStart();
    const { request } = exec;
    for (let at = 0; at < request.length; at += MAX_PAYLOAD_BYTES) {
      send(TO_AGENT.run, id, request.subarray(at, at + MAX_PAYLOAD_BYTES));
    }
    if (exec.memoryBytes !== undefined) {
      await group?.limitMemory(exec.memoryBytes).catch((error: unknown) => {
        log.warn({ err: error }, 'no memory limit for a program');
      });
    }
    const mayStart = await asked;
    // Its process was lost meanwhile, or the whole agent: whoever noticed has taken the program.
    if (this.#running.get(id) !== started || isGone()) return;
    if (!mayStart) exec.settle({ how: { kind: 'calledOff' }, processesKilled: 0 });
    if (exec.isSettled) return this.#giveBack(id, group);
    started.hasBegun = true;
    exec.begin(this.#hostOf(id, group));
    send(TO_AGENT.runLast, id);
  }

  /** No program comes for it. */
  #giveBack(id: number, group: ProgramGroup | null): void {
    this.#running.delete(id);
    this.#options.send(TO_AGENT.kill, id);
    this.#remove(group);
  }

  #hostOf(id: number, group: ProgramGroup | null): ProgramHost {
    const { clock, couldAnswer, groupCounts, killSandbox, send } = this.#options;
    return {
      ...{ clock, couldAnswer, group, groupCounts, killSandbox },
      sendStdin: (bytes) => send(TO_AGENT.stdin, id, bytes),
      sendStdinEnd: () => send(TO_AGENT.stdinEnd, id),
      terminate: () => send(TO_AGENT.terminate, id),
      kill: () => send(TO_AGENT.kill, id),
    };
  }

  #isOver(id: number, { exec, group }: Started, report: unknown): void {
    const ending = exec
      .exited(report)
      .then(() => {
        if (!exec.isSettled) return;
        this.#running.delete(id);
        this.#options.ended();
        this.#remove(group);
      })
      .catch((err: unknown) =>
        this.#options.killSandbox('the end of a program could not be judged', { err }),
      );
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
}
