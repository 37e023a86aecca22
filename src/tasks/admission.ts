// Whether one more task may wait. Each session, each tenant and the whole service have a bound; who is refused is told
// when to come back, by how fast tasks have been leaving the queue that is full.
import type { Config } from '../config.js';
import { ArgumentsTooMany, ServiceBusy, TooManyTasks } from '../errors.js';
import type { LiveSession } from '../sessions/live-session.js';
import type { Capacity } from '../sessions/schema.js';
import type { TaskRow } from '../store/schema.js';
import type { LiveTask } from './live-task.js';
import type { Places } from './places.js';

/** A refused client is told to stay away so long at least, and at most. */
const MIN_RETRY_AFTER_MS = 1_000;
const MAX_RETRY_AFTER_MS = 60_000;

type Bounds = Pick<
  Config,
  | 'MAX_QUEUED_TASKS'
  | 'MAX_BACKGROUND_TASKS'
  | 'MAX_TENANT_QUEUED_TASKS'
  | 'MAX_TOTAL_QUEUED_TASKS'
  | 'MAX_RUNNING_TASKS'
  | 'MAX_TASK_ARGUMENT_BYTES'
  | 'MAX_TENANT_RUNNING_TASKS'
>;

export class Admission {
  readonly #bounds: Bounds;
  readonly #places: Places;
  /** Tasks that were let in and have not started, by tenant. */
  readonly #waiting = new Map<string, Set<LiveTask>>();
  /** Tasks that were let in and have not ended, and the bytes of their arguments together. */
  readonly #pending = new Set<LiveTask>();
  #argumentBytes = 0;

  constructor(bounds: Bounds, places: Places) {
    this.#bounds = bounds;
    this.#places = places;
  }

  /** Tasks that wait, of a tenant or of all. */
  waiting(tenant?: string): number {
    if (tenant !== undefined) return this.#waiting.get(tenant)?.size ?? 0;
    return [...this.#waiting.values()].reduce((sum, { size }) => sum + size, 0);
  }

  /** Throws TooManyTasks, ServiceBusy or ArgumentsTooMany when one more may not be let in. */
  requireRoom(session: LiveSession, task: Pick<TaskRow, 'background' | 'arguments'>): void {
    if (task.background) this.#requireBackground(session);
    else this.#requireQueue(session);
    const { MAX_TASK_ARGUMENT_BYTES: most } = this.#bounds;
    // One alone is always let in: a body has its own bound.
    if (this.#pending.size > 0 && this.#argumentBytes + task.arguments.length > most) {
      throw new ArgumentsTooMany(task.arguments.length, most, retryAfter(this.#places.nextEndMs()));
    }
  }

  /** The task is let in, and waits until it leaves. Once is as good as twice. */
  enter(task: LiveTask): void {
    if (!this.#pending.has(task)) {
      this.#pending.add(task);
      this.#argumentBytes += task.facts.argumentBytes;
    }
    if (task.facts.background || task.status !== 'queued') return;
    const { tenant } = task.facts;
    const waiting = this.#waiting.get(tenant);
    if (waiting) waiting.add(task);
    else this.#waiting.set(tenant, new Set([task]));
  }

  /** It starts, or it never will. */
  leave(task: LiveTask): void {
    this.#waiting.get(task.facts.tenant)?.delete(task);
  }

  /** It is over, or was never accepted. */
  ended(task: LiveTask): void {
    this.leave(task);
    if (this.#pending.delete(task)) this.#argumentBytes -= task.facts.argumentBytes;
  }

  /** The queues as the tenant may see them. */
  queues(tenant: string): Pick<Capacity, 'queues' | 'estimatedWaitMs'> {
    const places = this.#places;
    const estimatedWaitMs = places.waitMs({ tenant }, 1);
    return {
      queues: {
        service: {
          running: places.running,
          maxRunning: this.#bounds.MAX_RUNNING_TASKS,
          queued: this.waiting(),
          maxQueued: this.#bounds.MAX_TOTAL_QUEUED_TASKS,
        },
        tenant: {
          running: places.runningOf(tenant),
          maxRunning: this.#bounds.MAX_TENANT_RUNNING_TASKS,
          queued: this.waiting(tenant),
          maxQueued: this.#bounds.MAX_TENANT_QUEUED_TASKS,
        },
      },
      ...(estimatedWaitMs === undefined ? {} : { estimatedWaitMs }),
    };
  }

  #requireBackground({ lane, accepting }: LiveSession): void {
    const { MAX_BACKGROUND_TASKS: most } = this.#bounds;
    if (lane.inBackground + accepting.background < most) return;
    throw new TooManyTasks('session', 'background', most, retryAfter(lane.backgroundWaitMs));
  }

  #requireQueue({ lane, accepting, row }: LiveSession): void {
    const { MAX_QUEUED_TASKS, MAX_TENANT_QUEUED_TASKS, MAX_TOTAL_QUEUED_TASKS } = this.#bounds;
    if (lane.waiting + accepting.lane >= MAX_QUEUED_TASKS) {
      throw new TooManyTasks('session', 'queued', MAX_QUEUED_TASKS, retryAfter(lane.waitMs(1)));
    }
    if (this.waiting(row.tenant) >= MAX_TENANT_QUEUED_TASKS) {
      const after = retryAfter(this.#places.nextEndMs(row.tenant));
      throw new TooManyTasks('tenant', 'queued', MAX_TENANT_QUEUED_TASKS, after);
    }
    if (this.waiting() >= MAX_TOTAL_QUEUED_TASKS) {
      throw new ServiceBusy(MAX_TOTAL_QUEUED_TASKS, retryAfter(this.#places.nextEndMs()));
    }
  }
}

/** In seconds. */
function retryAfter(estimateMs: number | undefined): number {
  return Math.ceil(Math.min(Math.max(estimateMs ?? 0, MIN_RETRY_AFTER_MS), MAX_RETRY_AFTER_MS) / 1000);
}
