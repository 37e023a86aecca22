// Tells tasks that wait long how the queue moves on. Every step would be an event for each of them; so a task is told
// when it has come to the place 1, 2, 4, 8, …, and not more often than every few seconds.
import type { Journal } from '../events/journal.js';
import type { NewEvent } from '../events/schema.js';
import type { Logger } from '../observability/logger.js';
import type { LiveSession } from '../sessions/live-session.js';
import { LiveTask } from './live-task.js';

const TOLD_EVERY_MS = 5000;

export interface QueueNewsOptions {
  readonly journal: Journal;
  readonly log: Logger;
  /** Milliseconds of a monotonic clock. */
  readonly clock?: () => number;
}

export class QueueNews {
  readonly #options: QueueNewsOptions;
  readonly #clock: () => number;

  constructor(options: QueueNewsOptions) {
    this.#options = options;
    this.#clock = options.clock ?? (() => performance.now());
  }

  /** A task of the session has left its queue. */
  moved(session: LiveSession): void {
    const events: NewEvent[] = [];
    const now = this.#clock();
    for (let position = 1; position <= session.lane.waiting; position *= 2) {
      const task = session.lane.at(position);
      if (!(task instanceof LiveTask) || now - task.toldQueueAt < TOLD_EVERY_MS) continue;
      task.toldQueueAt = now;
      const estimatedWaitMs = session.lane.waitMs(position);
      events.push({
        type: 'task.waiting',
        taskId: task.facts.taskId,
        data: { queuePosition: position, ...(estimatedWaitMs === undefined ? {} : { estimatedWaitMs }) },
      });
    }
    if (events.length === 0) return;
    const { id, session_id: sessionId } = session.row;
    this.#options.journal.append({ id, sessionId }, events).catch((error: unknown) => {
      this.#options.log.warn({ err: error, sessionId }, 'news of the queue were not stored');
    });
  }
}
