// Tasks: taken in, found, waited for, written to, cancelled, and brought back after a restart.

import type { Config } from '../config.js';
import {
  type DiskAlmostFull,
  KillPending,
  SessionEnded,
  ShuttingDown,
  StoreUnavailable,
  TaskIdConflict,
  TaskNotFound,
  TaskNotRunning,
  UnknownTool,
} from '../errors.js';
import type { Journal } from '../events/journal.js';
import type { OutputStream } from '../events/schema.js';
import { newId } from '../lib/ids.js';
import { lastingController } from '../lib/lasting-controller.js';
import type { Principal } from '../lib/principal.js';
import { Semaphore } from '../lib/semaphore.js';
import { settledWithin } from '../lib/settled-within.js';
import type { Logger } from '../observability/logger.js';
import { requireIsolation } from '../sandbox/require-isolation.js';
import type { SandboxDriver } from '../sandbox/sandbox.js';
import type { LiveSession } from '../sessions/live-session.js';
import type { Sessions } from '../sessions/service.js';
import type { Listed } from '../store/page.js';
import type { TaskRow } from '../store/schema.js';
import { DuplicateKey, type Statement, UnitRejected } from '../store/store.js';
import type { ToolRegistry } from '../tools/registry.js';
import type { Admission } from './admission.js';
import { requireAllowed, resolveConstraints, type TaskLimits } from './constraints.js';
import { type EndedTask, Executor } from './executor.js';
import { KILL_REPLY_MS, LiveTask } from './live-task.js';
import { LiveTasks } from './live-tasks.js';
import { QueueNews } from './queue-news.js';
import { type QueueFacts, taskRecord } from './record.js';
import { TaskRecovery } from './recovery.js';
import { SESSION_OPEN, type TaskFilter, type TaskRepository } from './repository.js';
import type { CancelResult, Constraints, Task, TaskSubmission } from './schema.js';
import type { StdinRoom, StdinWrite } from './stdin.js';
import { StoredOutput } from './stored-output.js';
import { queuedRow } from './submission.js';
import { TaskView } from './view.js';

/** A stop waits so long for the processes of interrupted tasks: the longest kill grace and some time to be gone. */
const KILL_MS = 15_000;

/** Tasks that are read for a reply at once. The store reads one after the other anyway: more would wait in memory. */
const SHOWN_AT_ONCE = 2;

export interface TasksOptions {
  readonly repository: TaskRepository;
  readonly sessions: Sessions;
  readonly journal: Journal;
  readonly tools: ToolRegistry;
  readonly driver: SandboxDriver;
  readonly config: Config;
  readonly log: Logger;
  /** Throws StoreFull while nothing more may be stored. */
  readonly requireRoom: () => void;
  /** Throws DiskAlmostFull. */
  readonly requireDisk: () => void;
  /** Rejects with TooManyUnreadReplies when a reply of so many bytes would have to wait with too many others. They are
   *  asked for only when that is possible. Default: never. */
  readonly requireReplyRoom?: (bytes: () => Promise<number>) => Promise<void>;
  readonly admission: Admission;
  readonly stdinRoom: StdinRoom;
  readonly onEnded: (task: EndedTask) => void;
  readonly now?: () => number;
}

export class Tasks {
  readonly #options: TasksOptions;
  readonly #now: () => number;
  readonly #executor: Executor;
  readonly #view: TaskView;
  readonly #news: QueueNews;
  readonly #showing = new Semaphore(SHOWN_AT_ONCE);
  readonly #live: LiveTasks;
  /** Aborted when the service stops: takes no tasks, and nobody waits for one any more. */
  readonly #stopping = lastingController();

  constructor(options: TasksOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#executor = new Executor(options);
    this.#view = new TaskView(options.repository, options.tools);
    this.#news = new QueueNews(options);
    this.#live = new LiveTasks(options.admission);
  }

  /** Accepts a task: when this resolves it is stored and will end exactly once. `extra` is stored with it. */
  async submit(
    principal: Principal,
    sessionId: string,
    submission: TaskSubmission,
    extra: (taskId: string) => readonly Statement[] = () => [],
  ): Promise<Task> {
    if (this.#stopping.signal.aborted) throw new ShuttingDown();
    const tool = this.#tool(submission.tool);
    tool.check?.(submission.arguments);
    const session = await this.#options.sessions.locate(principal, sessionId);
    const id = newId('tsk');
    const row = queuedRow(id, { tenant: principal.tenant, session: session.id }, submission, this.#now());
    const earlier = submission.taskId && (await this.#repeated(row));
    if (earlier) return this.#show({ row: earlier, sessionId });

    const live = await this.#options.sessions.findLive(principal, sessionId);
    // It ends as soon as it can; what holds its end up must not be more work.
    if (live.isLifetimeOver(this.#now())) throw new SessionEnded(sessionId, 'at the end of its lifetime');
    this.#options.requireRoom();
    if (!tool.addsNothing) this.#options.requireDisk();
    if (!tool.inService) requireIsolation(this.#options.driver);
    const constraints = submission.constraints ?? {};
    requireAllowed(constraints, live.limits, this.#options.config);
    const limits = resolveConstraints(constraints, live.limits);
    this.#options.admission.requireRoom(live, row);
    const task = this.#liveTask(row, submission.arguments, live, limits);
    this.#live.admit(task);
    const kind = row.background ? 'background' : 'lane';
    live.accepting[kind] += 1;
    let firstSeq: number;
    try {
      firstSeq = await this.#accept(task, row, extra(row.task_id)).catch((error) =>
        this.#acceptedInSpiteOf(error, row),
      );
    } catch (error) {
      this.#live.forget(task);
      task.markDone();
      if (error instanceof UnitRejected && error.label === SESSION_OPEN)
        throw new SessionEnded(sessionId, live.state);
      const winner = error instanceof DuplicateKey && (await this.#repeated(row));
      if (winner) return this.#show({ row: winner, sessionId });
      throw error;
    } finally {
      live.accepting[kind] -= 1;
    }
    task.row.first_seq = firstSeq;
    this.#enqueue(task);
    return taskRecord(task.row, sessionId, { ...this.#queueOf(id), args: submission.arguments });
  }

  /** A few at a time: a task may show megabytes, and those that are read wait in memory for their reply. */
  get(principal: Principal, taskId: string): Promise<Task> {
    return this.#showing.run(async () => this.#show(await this.find(principal, taskId)));
  }

  /** The stored row and its session’s public id. Throws TaskNotFound, also for a task of another tenant. */
  async find(principal: Principal, taskId: string): Promise<{ row: TaskRow; sessionId: string }> {
    const row = await this.#options.repository.find(principal.tenant, taskId);
    const session = row && (await this.#options.sessions.byId(row.session));
    if (!row || !session) throw new TaskNotFound(taskId);
    return { row, sessionId: session.session_id };
  }

  /** The task, as soon as it has ended, or as it is after `waitMs`. */
  async wait(principal: Principal, taskId: string, waitMs: number, signal: AbortSignal): Promise<Task> {
    return (await this.#endedWithin(principal, taskId, waitMs, signal)) ?? this.get(principal, taskId);
  }

  /** The same for a request that only reads: it is refused with TooManyUnreadReplies, before anything is read, when the
   *  task is large and too many replies wait for their clients. Rejects with the reason of a `signal` that has aborted. */
  async read(principal: Principal, taskId: string, waitMs: number, signal: AbortSignal): Promise<Task> {
    const ended = await this.#endedWithin(principal, taskId, waitMs, signal);
    if (ended) return ended;
    return this.#showing.run(async () => {
      signal.throwIfAborted();
      const { repository, requireReplyRoom } = this.#options;
      await requireReplyRoom?.(() => repository.shownBytes(principal.tenant, taskId));
      return this.#show(await this.find(principal, taskId));
    });
  }

  async list(filter: TaskFilter, sessionId: string): Promise<Listed<Task>> {
    const { rows, next } = await this.#options.repository.list(filter);
    const items = rows.map((row) => taskRecord(row, sessionId, this.#queueOf(row.id)));
    return { items, next };
  }

  /** Ends a task as `cancelled`; resolves when its processes are gone. Throws KillPending when that takes too long. */
  async cancel(principal: Principal, taskId: string, reason?: string): Promise<CancelResult> {
    const startedAt = performance.now();
    const live = this.#live.byName(principal.tenant, taskId) ?? (await this.#attachedOf(principal, taskId));
    const recorded = live?.ending.record({ cause: 'cancelled', ...(reason ? { reason } : {}) }) ?? false;
    if (live) {
      this.#endIfQueued(live);
      const ended = await settledWithin(live.done, KILL_REPLY_MS);
      if (!ended) throw new KillPending('Task', taskId, KILL_REPLY_MS);
    }
    const task = (live && this.#view.showEnded(live)) ?? (await this.get(principal, taskId));
    return {
      cancelled: recorded,
      task,
      processesKilled: recorded ? (task.ending?.processesKilled ?? 0) : 0,
      tookMs: Math.round((performance.now() - startedAt) * 1000) / 1000,
    };
  }

  /** The task by its stored name. One that waits in a session which is not attached brings that about, or is refused. */
  async #attachedOf(principal: Principal, taskId: string): Promise<LiveTask | undefined> {
    const { row, sessionId } = await this.find(principal, taskId);
    const { sessions } = this.#options;
    if (sessions.isDetached(row.session)) await sessions.findLive(principal, sessionId);
    return this.#live.byId(row.id);
  }

  /** Hands bytes to the running program. Throws TaskNotRunning, StdinClosed or StdinFull. */
  async writeStdin(principal: Principal, taskId: string, write: StdinWrite): Promise<void> {
    const live = this.#live.byName(principal.tenant, taskId);
    if (!live) throw new TaskNotRunning(taskId, (await this.find(principal, taskId)).row.status);
    live.session.worked(this.#now());
    await this.#options.stdinRoom.write(live, write);
  }

  /** The stored bytes of a stream. */
  output(row: TaskRow, stream: OutputStream): StoredOutput {
    return new StoredOutput(this.#options.repository, row, stream);
  }

  /** Ends every task of a session as `sessionEnded`; resolves when all are over. */
  async endAllOf(session: LiveSession): Promise<void> {
    const tasks = this.#live.ofSession(session);
    for (const task of tasks) {
      task.ending.record({ cause: 'sessionEnded' });
      this.#endIfQueued(task);
    }
    await Promise.all(tasks.map((task) => task.done));
    await session.lane.whenIdle();
  }

  /** Ends what may be writing as `diskLimit`, since the disk of the service is almost full. */
  endWriters({ code, message }: DiskAlmostFull): void {
    for (const task of this.#live.running()) {
      if (!task.tool.addsNothing) task.ending.record({ cause: 'diskLimit', code, message });
    }
  }

  /** Brings back what an earlier run left unfinished. */
  get recovery(): TaskRecovery {
    return new TaskRecovery({
      ...this.#options,
      lost: this.#options,
      now: this.#now,
      isLive: (id) => this.#live.byId(id) !== undefined,
      enqueue: (row, session) => {
        const limits = resolveConstraints(JSON.parse(row.constraints) as Constraints, session.limits);
        const args = JSON.parse(row.arguments) as Record<string, unknown>;
        this.#enqueue(this.#liveTask(row, args, session, limits));
      },
    });
  }

  /** Takes no new tasks, lets those that run finish for a while, or until `hurry`, then ends them as `interrupted`.
   *  Queued ones stay, also those whose sandbox is starting; one that cannot be killed ends when the service starts again. */
  async drain(graceMs: number, hurry: AbortSignal): Promise<void> {
    this.#stopping.abort();
    for (const live of this.#options.sessions.allLive) live.lane.hold();
    const running = this.#live.taken();
    for (const task of running) task.postpone();
    const all = Promise.all(running.map((task) => task.done));
    if (await settledWithin(all, graceMs, hurry)) return;
    for (const task of running) task.ending.record({ cause: 'interrupted' });
    if (await settledWithin(all, KILL_MS)) return;
    const taskIds = running.filter(({ facts }) => this.#live.byId(facts.id)).map(({ facts }) => facts.taskId);
    this.#options.log.error({ taskIds }, 'tasks could not be killed');
  }

  #run(task: LiveTask): Promise<void> {
    this.#leaveQueue(task);
    return this.#executor.execute(task).finally(() => this.#live.forget(task));
  }

  #leaveQueue(task: LiveTask): void {
    this.#options.admission.leave(task);
    this.#news.moved(task.session);
  }

  #enqueue(task: LiveTask): void {
    this.#live.accepted(task);
    if (task.ending.first) this.#endUnstarted(task);
    else if (task.facts.background) task.session.lane.addBackground(task);
    else task.session.lane.add(task);
  }

  #endIfQueued(task: LiveTask): void {
    if (task.session.lane.remove(task)) this.#endUnstarted(task);
  }

  #endUnstarted(task: LiveTask): void {
    this.#leaveQueue(task);
    void this.#executor.endUnstarted(task).finally(() => this.#live.forget(task));
  }

  /** Resolves with the number of its first event. */
  async #accept(
    task: LiveTask,
    row: Omit<TaskRow, 'first_seq'>,
    extra: readonly Statement[],
  ): Promise<number> {
    const { session } = task;
    session.worked(this.#now());
    // Those that are being stored just now come before it, too.
    const position = session.lane.waiting + session.accepting.lane - (task.facts.background ? 0 : 1);
    const [seq] = await this.#options.journal.append(
      { id: session.row.id, sessionId: session.row.session_id },
      [
        {
          type: 'task.queued',
          taskId: row.task_id,
          data: {
            tool: row.tool,
            position,
            background: task.facts.background,
            ...(task.facts.background ? {} : this.#estimate(session, position + 1)),
          },
        },
      ],
      { after: [this.#options.repository.insert(row), ...extra] },
    );
    return seq!;
  }

  /** Where the store could not say whether it took the task, the next read tells: what is stored has to end. */
  async #acceptedInSpiteOf(
    error: unknown,
    { id, tenant, task_id }: Omit<TaskRow, 'first_seq'>,
  ): Promise<number> {
    if (!(error instanceof StoreUnavailable) || error.outcome !== 'unknown') throw error;
    const stored = await this.#options.repository.find(tenant, task_id);
    if (stored?.id === id) return stored.first_seq;
    throw new StoreUnavailable(error.cause, 'notStarted');
  }

  /** The task that already has this id, if it is the same work. */
  async #repeated(wanted: Pick<TaskRow, 'tenant' | 'task_id' | 'body_hash'>): Promise<TaskRow | undefined> {
    const row = await this.#options.repository.find(wanted.tenant, wanted.task_id);
    if (row && row.body_hash !== wanted.body_hash) throw new TaskIdConflict(wanted.task_id);
    return row;
  }

  #liveTask(
    row: Omit<TaskRow, 'first_seq'>,
    args: Record<string, unknown>,
    session: LiveSession,
    limits: TaskLimits,
  ): LiveTask {
    const { id, task_id: taskId, tenant } = row;
    const facts = {
      id,
      taskId,
      tenant,
      arguments: args,
      argumentBytes: row.arguments.length,
      background: row.background === 1,
      limits,
    };
    const kept = { first_seq: 0, ...row, arguments: '' };
    return new LiveTask(facts, kept, session, this.#tool(row.tool), (task) => this.#run(task));
  }

  #tool(name: string) {
    const tool = this.#options.tools.get(name);
    if (!tool) throw new UnknownTool(name, [...this.#options.tools.keys()]);
    return tool;
  }

  #queueOf(id: string): QueueFacts {
    const task = this.#live.byId(id);
    if (task?.startPosition) return { queuePosition: task.startPosition, waitsFor: 'sandbox' };
    const queuePosition = task?.session.lane.position(task);
    if (!task || !queuePosition) return {};
    return { queuePosition, ...this.#estimate(task.session, queuePosition) };
  }

  #estimate({ lane }: LiveSession, position: number): Pick<QueueFacts, 'estimatedWaitMs'> {
    const estimatedWaitMs = lane.waitMs(position);
    return estimatedWaitMs === undefined ? {} : { estimatedWaitMs };
  }

  /** From memory; undefined when only the store has all of it. */
  async #endedWithin(principal: Principal, taskId: string, waitMs: number, signal: AbortSignal) {
    let live = this.#live.byName(principal.tenant, taskId);
    if (!live && waitMs > 0) live = await this.#attachedOf(principal, taskId).catch(() => undefined);
    if (live) await settledWithin(live.done, waitMs, signal, this.#stopping.signal);
    return live && this.#view.showEnded(live);
  }

  #show({ row, sessionId }: { row: TaskRow; sessionId: string }): Promise<Task> {
    return this.#view.show(row, sessionId, this.#queueOf(row.id));
  }
}
