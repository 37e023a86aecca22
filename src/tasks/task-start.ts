// The start of one task. It is stored before anything of the task happens, so that a task which the service has lost is
// known to have run, and is not run again. Only then does the task's time run: that its sandbox has to be started first is
// no fault of the task's. Until then it is told what it waits for.
import type { Journal } from '../events/journal.js';
import type { NewEvent } from '../events/schema.js';
import type { Logger } from '../observability/logger.js';
import type { LiveTask } from './live-task.js';
import type { TaskRepository } from './repository.js';

/** A wait for the sandbox is told when it has taken so long, and then so often. */
const TOLD_AFTER_MS = 1_000;
const TOLD_EVERY_MS = 5_000;

export interface TaskStartOptions {
  readonly journal: Journal;
  readonly repository: TaskRepository;
  readonly log: Logger;
  readonly now: () => number;
}

export class TaskStart {
  readonly #options: TaskStartOptions;
  readonly #task: LiveTask;
  #begun: Promise<void> | undefined;
  #beganAt: number | undefined;
  #clock: NodeJS.Timeout | undefined;
  #news: NodeJS.Timeout | undefined;

  constructor(options: TaskStartOptions, task: LiveTask) {
    this.#options = options;
    this.#task = task;
    if (!task.tool.inService) this.#news = setTimeout(() => this.#tell(), TOLD_AFTER_MS);
  }

  /** Since it was about to begin; undefined when it never was. */
  get durationMs(): number | undefined {
    return this.#beganAt === undefined ? undefined : performance.now() - this.#beganAt;
  }

  /** Resolves when the start is stored: what the task is to do may begin. Rejects when it may not. */
  begin(): Promise<void> {
    this.#begun ??= this.#begin();
    return this.#begun;
  }

  /** The task is over, or was never begun. */
  over(): void {
    clearTimeout(this.#clock);
    clearTimeout(this.#news);
    this.#clock = this.#news = undefined;
  }

  async #begin(): Promise<void> {
    const task = this.#task;
    clearTimeout(this.#news);
    if (task.ending.first) throw new Error('the task ended before it began');
    this.#beganAt = performance.now();
    task.status = 'running';
    try {
      await this.#store(this.#beganAt);
    } catch (error) {
      const { taskId } = task.facts;
      this.#options.log.error({ err: error, taskId }, 'task start could not be stored');
      const message = 'The store could not take the start of the task; submit it again.';
      task.ending.record({ cause: 'interrupted', message });
      throw error;
    }
    if (task.ending.first) throw new Error('the task ended before it began');
    const { timeoutMs } = task.facts.limits;
    this.#clock = setTimeout(() => task.ending.record({ cause: 'timedOut' }), timeoutMs);
  }

  async #store(beganAt: number): Promise<void> {
    const task = this.#task;
    const now = this.#options.now();
    const queueMs = Math.round((beganAt - task.acceptedAt) * 1000) / 1000;
    const change = task.session.taskStarted(now);
    const { id, taskId } = task.facts;
    await this.#append([...change.events, { type: 'task.started', taskId, data: { queueMs } }], {
      after: [this.#options.repository.start({ id, startedAt: now, queueMs }), ...change.statements],
    });
    Object.assign(task.row, { started_at: now, queue_ms: queueMs });
  }

  /** Its turn in the session has come, and its sandbox has not started yet. */
  #tell(): void {
    const { taskId } = this.#task.facts;
    this.#news = setTimeout(() => this.#tell(), TOLD_EVERY_MS);
    if (this.#task.ending.first) return;
    const data = { queuePosition: Math.max(1, this.#task.startPosition), waitsFor: 'sandbox' as const };
    this.#append([{ type: 'task.waiting', taskId, data }]).catch((error: unknown) =>
      this.#options.log.warn({ err: error, taskId }, 'news of a start were not stored'),
    );
  }

  #append(events: readonly NewEvent[], together: Parameters<Journal['append']>[2] = {}) {
    const { row } = this.#task.session;
    return this.#options.journal.append({ id: row.id, sessionId: row.session_id }, events, together);
  }
}
