// Runs one task from its start to its one ending: a clock, an output writer, the tool, and the unit that ends it.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Config } from '../config.js';
import { PublicError } from '../errors.js';
import type { Journal, WithEvents } from '../events/journal.js';
import { OutputWriter } from '../events/output.js';
import type { NewEvent } from '../events/schema.js';
import type { Logger } from '../observability/logger.js';
import { notStarted } from '../sandbox/sandbox.js';
import { UnitRejected } from '../store/store.js';
import { NotStarted, type Progress, type ToolContext, ToolError, type ToolResult } from '../tools/tool.js';
import { endingMessage, limitFacts } from './ending.js';
import type { LiveTask } from './live-task.js';
import { endedOutputs, ownOutputs } from './outputs.js';
import type { TaskRepository } from './repository.js';
import { type Ending, statusOf, type TaskStatus, type Usage } from './schema.js';
import { TaskStart } from './task-start.js';

/** Progress of one stage is told at most this often. */
const PROGRESS_EVERY_MS = 100;
/** While the store takes no writes an ending is tried again this often. */
const STORE_RETRY_MS = 500;

export interface EndedTask {
  readonly tool: string;
  readonly status: TaskStatus;
  readonly cause: Ending['cause'];
  readonly durationMs: number;
  /** Null when it never started. */
  readonly queueMs: number | null;
}

export interface ExecutorOptions {
  readonly journal: Journal;
  readonly repository: TaskRepository;
  readonly config: Config;
  readonly log: Logger;
  readonly onEnded: (task: EndedTask) => void;
  readonly now?: () => number;
}

type Result = ToolResult<Record<string, unknown>>;

/** What is known when a task is over; a task that never started has a result and nothing else. */
interface Ended {
  readonly result: Result;
  readonly output?: OutputWriter;
  /** From the decision to end it until the tool had let go; absent when it ended by itself. */
  readonly killMs?: number | undefined;
  readonly durationMs?: number;
}

export class Executor {
  readonly #options: ExecutorOptions;
  readonly #now: () => number;

  constructor(options: ExecutorOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  /** Resolves when the task's ending is stored; never rejects. */
  async execute(task: LiveTask): Promise<void> {
    const { ending } = task;
    const start = new TaskStart({ ...this.#options, now: this.#now }, task);
    const output = this.#outputOf(task);
    const result = await this.#runTool(task, output, start);
    start.over();
    task.exec = undefined;
    if (task.isPostponed && task.status === 'queued') return task.markDone();
    const killMs = ending.first && ending.sinceDecidedMs;
    ending.record(result.ending ?? { cause: 'finished' });
    await output.flush();
    await this.#storeEnd(task, { result, output, killMs, durationMs: start.durationMs });
  }

  /** Ends a task that never started. */
  async endUnstarted(task: LiveTask): Promise<void> {
    await this.#storeEnd(task, { result: { outputs: {} } });
  }

  async #runTool(task: LiveTask, output: OutputWriter, start: TaskStart): Promise<Result> {
    if (task.ending.first) return { outputs: {} };
    // Such a tool changes nothing, so that it may be run again: its start need not be waited for.
    if (task.tool.inService) start.begin().catch(() => {});
    try {
      const result = await task.tool.run(this.#contextOf(task, output, start), task.facts.arguments);
      return result as Result;
    } catch (error) {
      if (error instanceof NotStarted) return { outputs: {}, ending: notStarted(error.cause) };
      if (error instanceof ToolError) {
        return { outputs: {}, ending: { cause: 'toolError', code: error.code, message: error.message } };
      }
      if (error instanceof PublicError) {
        return { outputs: {}, ending: { cause: 'spawnFailed', code: error.code, message: error.message } };
      }
      if (!task.ending.first) {
        this.#options.log.error(
          { err: error, taskId: task.facts.taskId, tool: task.tool.name },
          'tool failed unexpectedly',
        );
      }
      return {
        outputs: {},
        ending: {
          cause: 'toolError',
          code: 'INTERNAL',
          message: 'The tool failed unexpectedly; the log of the service says why.',
        },
      };
    }
  }

  #contextOf(task: LiveTask, output: OutputWriter, start: TaskStart): ToolContext {
    const { config } = this.#options;
    let told = { stage: '', at: 0 };
    return {
      sandbox: task.session.sandbox,
      get signal() {
        return task.ending.signal;
      },
      killGraceMs: task.facts.limits.killGraceMs,
      memoryBytes: task.facts.limits.memoryBytes,
      maxInlineBytes: config.JSON_BODY_BYTES,
      settings: { pipIndexUrl: config.PIP_INDEX_URL, pipFileHosts: config.PIP_FILE_HOSTS },
      begin: () => start.begin(),
      output: (stream, chunk) => output.write(stream, chunk),
      progress: (progress) => {
        const at = performance.now();
        if (task.ending.first || (progress.stage === told.stage && at - told.at < PROGRESS_EVERY_MS)) return;
        told = { stage: progress.stage, at };
        this.#tell(task, progress);
      },
      running: (exec) => {
        task.exec = exec;
      },
    };
  }

  #tell(task: LiveTask, progress: Progress): void {
    this.#append(task, [{ type: 'task.progress', taskId: task.facts.taskId, data: { ...progress } }]).catch(
      (error: unknown) =>
        this.#options.log.warn({ err: error, taskId: task.facts.taskId }, 'progress was not stored'),
    );
  }

  #outputOf(task: LiveTask): OutputWriter {
    const { session } = task;
    const { MAX_SESSION_STORED_BYTES } = this.#options.config;
    return new OutputWriter({
      journal: this.#options.journal,
      session: { id: session.row.id, sessionId: session.row.session_id },
      task: { id: task.facts.id, taskId: task.facts.taskId },
      maxBytes: task.facts.limits.maxOutputBytes,
      sessionRoom: () => MAX_SESSION_STORED_BYTES - session.keptBytes,
      onLimit: (whose) =>
        task.ending.record({
          cause: 'outputLimit',
          ...(whose === 'session'
            ? { limitBytes: MAX_SESSION_STORED_BYTES, message: sessionFull(MAX_SESSION_STORED_BYTES) }
            : {}),
        }),
      onError: (error) => {
        this.#options.log.error({ err: error, taskId: task.facts.taskId }, 'output could not be stored');
        task.ending.record({
          cause: 'interrupted',
          message:
            'The store could not take the task’s output; what was stored before is kept. Submit it again.',
        });
      },
    });
  }

  async #storeEnd(task: LiveTask, { result, output, killMs, durationMs }: Ended): Promise<void> {
    const { id, taskId } = task.facts;
    const now = this.#now();
    const ending = this.#describe(task, result, killMs);
    const status = statusOf(ending);
    const usage: Usage = {
      ...result.usage,
      outputBytes: output ? output.bytes.stdout + output.bytes.stderr : 0,
    };
    const change = task.status === 'running' ? task.session.taskEnded(now) : { events: [], statements: [] };
    const shown =
      task.tool.hasStreams && !output
        ? { outputsTruncated: false }
        : endedOutputs(ownOutputs(result.outputs, task.tool), task.tool.hasStreams ? output : undefined);
    const outputs = JSON.stringify(result.outputs);
    const unit: readonly NewEvent[] = [
      { type: 'task.ended', taskId, data: { status, ending, ...shown, usage } },
      ...change.events,
    ];
    const end = {
      status,
      ending: JSON.stringify(ending),
      outputs,
      usage: JSON.stringify(usage),
      ended_at: now,
      duration_ms: durationMs === undefined ? null : round(durationMs),
      stdout_bytes: output?.bytes.stdout ?? 0,
      stderr_bytes: output?.bytes.stderr ?? 0,
    };
    const row = { id, session: task.session.row.id };
    const statements = [
      this.#options.repository.end(row, end, { eventsAfter: change.events.length }),
      ...change.statements,
    ];
    const together = { after: statements, bytes: Buffer.byteLength(outputs) };
    const lastSeq = await this.#appendUntilStored(task, unit, together);
    if (lastSeq !== undefined) Object.assign(task.row, end, { last_seq: lastSeq });
    task.printed = output ? output.whole : NOTHING_PRINTED;
    task.markDone();
    // Whoever waits for the end is answered first.
    setImmediate(() => {
      const { taskId } = task.facts;
      const { session_id: sessionId } = task.session.row;
      const [tool, { cause }] = [task.tool.name, ending];
      const { queue_ms: queueMs } = task.row;
      this.#options.onEnded({ tool, status, cause, queueMs, durationMs: durationMs ?? 0 });
      this.#options.log.info({ taskId, sessionId, tool, cause, durationMs }, 'task ended');
    });
  }

  /** The first cause, with what the end of the program adds to it: how its main process went, how many were killed and
   *  how long it took. */
  #describe(task: LiveTask, result: Result, tookMs: number | undefined): Ending {
    const first = task.ending.first!;
    const { limits } = task.session;
    const { memoryBytes, timeoutMs, maxOutputBytes } = task.facts.limits;
    const memoryMb = memoryBytes === undefined ? limits.memoryMb : memoryBytes / (1024 * 1024);
    const { exitCode, signal, processesKilled } = result.ending ?? {};
    const words = { timeoutMs, maxOutputBytes, memoryMb, diskMb: limits.diskMb };
    return {
      ...first,
      ...limitFacts(first, words, result.usage?.peakMemoryBytes),
      ...(exitCode !== undefined ? { exitCode } : {}),
      ...(signal !== undefined ? { signal } : {}),
      ...(processesKilled !== undefined ? { processesKilled } : {}),
      ...(tookMs !== undefined ? { killMs: round(tookMs) } : {}),
      message: endingMessage({ ...first, processesKilled: processesKilled ?? 0 }, words),
    };
  }

  /** Every accepted task ends: while the store takes nothing, its ending waits and is tried again. The number of the
   *  first event; undefined when there was nothing left to end. */
  async #appendUntilStored(
    task: LiveTask,
    events: readonly NewEvent[],
    together: WithEvents,
  ): Promise<number | undefined> {
    for (;;) {
      try {
        return (await this.#append(task, events, together))[0];
      } catch (error) {
        this.#options.log.error(
          { err: error, taskId: task.facts.taskId },
          'task end could not be stored yet',
        );
        // Its record is gone or has an end already: there is nothing left to store.
        if (error instanceof UnitRejected) return undefined;
        await sleep(STORE_RETRY_MS);
      }
    }
  }

  #append(
    task: LiveTask,
    events: readonly NewEvent[],
    together: WithEvents = {},
  ): Promise<readonly number[]> {
    const { row } = task.session;
    return this.#options.journal.append({ id: row.id, sessionId: row.session_id }, events, together);
  }
}

const NOTHING_PRINTED = { stdout: '', stderr: '' };

function sessionFull(bytes: number): string {
  return `The session holds the ${bytes} bytes of events and output that one session may; what fits was kept. Let tasks that still run end, so that retention can make room, write to a file, or use another session.`;
}

const round = (ms: number) => Math.round(ms * 1000) / 1000;
