// Tasks that an earlier run of the service left unfinished: those that ran end with the truth, those that waited wait again.

import type { SandboxDriver } from '../sandbox/sandbox.js';
import type { LiveSession } from '../sessions/live-session.js';
import type { Sessions } from '../sessions/service.js';
import type { TaskRow } from '../store/schema.js';
import { endLostTask } from './interrupted.js';

export interface TaskRecoveryOptions {
  readonly lost: Parameters<typeof endLostTask>[0];
  readonly sessions: Pick<Sessions, 'live' | 'byId' | 'isDetached'>;
  readonly driver: Pick<SandboxDriver, 'isolation'>;
  readonly now: () => number;
  readonly isLive: (id: string) => boolean;
  /** Puts a task that waits into its session’s queue again. */
  readonly enqueue: (row: TaskRow, session: LiveSession) => void;
}

export class TaskRecovery {
  readonly #options: TaskRecoveryOptions;

  constructor(options: TaskRecoveryOptions) {
    this.#options = options;
  }

  /** Of all sessions, or of one. What waits in a session that is not attached, for want of isolation or for another reason,
   *  is left as it is. */
  async recover(sessionRowId?: string): Promise<void> {
    const { lost, sessions, driver, isLive, enqueue } = this.#options;
    const canRun = driver.isolation.level !== null;
    for (const row of await lost.repository.unfinished(sessionRowId)) {
      const isKept = !canRun || sessions.isDetached(row.session);
      if ((isKept && row.status !== 'running') || isLive(row.id)) continue;
      const session = sessions.live(row.session);
      if (!session || row.status === 'running' || session.row.state === 'terminating') {
        await this.#endLost(row, row.status === 'running' ? 'interrupted' : 'sessionEnded');
      } else enqueue(row, session);
    }
  }

  /** Ends what waits in a session that is given up without having been attached. */
  async discard(sessionRowId: string): Promise<void> {
    for (const row of await this.#options.lost.repository.unfinished(sessionRowId))
      await this.#endLost(row, 'sessionEnded');
  }

  async #endLost(row: TaskRow, cause: 'interrupted' | 'sessionEnded'): Promise<void> {
    const { lost, sessions, now } = this.#options;
    const sessionId = (await sessions.byId(row.session))?.session_id ?? row.session;
    await endLostTask(lost, row, sessionId, cause, now());
  }
}
