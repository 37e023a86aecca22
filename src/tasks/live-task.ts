// A task that has not ended: what it is to do, what may end it, and the promise that it has.
import type { OutputStream } from '../events/schema.js';
import { type Deferred, deferred } from '../lib/deferred.js';
import type { Exec } from '../sandbox/sandbox.js';
import type { LiveSession } from '../sessions/live-session.js';
import type { TaskRow } from '../store/schema.js';
import type { Tool } from '../tools/tool.js';
import type { TaskLimits } from './constraints.js';
import { FirstEnding } from './ending.js';
import type { Job } from './lane.js';

/** Who asks for an end that takes longer is answered KILL_PENDING; it comes when the processes are gone all the same. */
export const KILL_REPLY_MS = 5000;

export interface LiveTaskFacts {
  /** Internal id. */
  readonly id: string;
  /** The client's, or the internal one. */
  readonly taskId: string;
  readonly tenant: string;
  readonly arguments: Record<string, unknown>;
  /** Of the arguments as JSON: about what they take of memory until the task has ended. */
  readonly argumentBytes: number;
  readonly background: boolean;
  readonly limits: TaskLimits;
}

export class LiveTask implements Job {
  readonly ending = new FirstEnding();
  readonly acceptedAt = performance.now();
  /** When it was last told where it stands in the queue, on the same clock. */
  toldQueueAt = this.acceptedAt;
  /** `running` from the moment at which its start is being stored. */
  status: 'queued' | 'running' = 'queued';
  /** Its turn has come: it starts, or runs. */
  isTaken = false;
  /** It had not begun when the service stopped: it is left as it is for the next run. */
  isPostponed = false;
  /** The program that runs for it, while one does. */
  exec: Exec | undefined;
  /** All that it printed, when that is little and its end is stored. */
  printed: Readonly<Record<OutputStream, string>> | undefined;
  readonly #done: Deferred<void> = deferred();

  constructor(
    readonly facts: LiveTaskFacts,
    /** As it is stored, but for the arguments, which `facts` has: whoever waits for its end need not read it again. */
    readonly row: TaskRow,
    readonly session: LiveSession,
    readonly tool: Tool,
    readonly execute: (task: LiveTask) => Promise<void>,
  ) {}

  /** Resolves when its `task.ended` is stored. */
  get done(): Promise<void> {
    return this.#done.promise;
  }

  /** While its turn has come and its sandbox has to start: where that stands; 0 else. */
  get startPosition(): number {
    const isWaiting = this.isTaken && this.status === 'queued' && !this.ending.first;
    return isWaiting ? this.session.sandbox.startPosition : 0;
  }

  /** Leaves it to the next run of the service, unless something has ended it, or it has begun. */
  postpone(): void {
    if (this.status === 'queued' && this.ending.record({ cause: 'interrupted' })) this.isPostponed = true;
  }

  async run(): Promise<void> {
    this.isTaken = true;
    await this.execute(this);
  }

  markDone(): void {
    this.#done.resolve();
  }
}
