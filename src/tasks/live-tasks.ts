// Registry of the tasks that have not ended, by internal id and by the name that their client knows.
import type { LiveSession } from '../sessions/live-session.js';
import type { Admission } from './admission.js';
import type { LiveTask } from './live-task.js';

export class LiveTasks {
  readonly #admission: Admission;
  readonly #byId = new Map<string, LiveTask>();
  readonly #byName = new Map<string, LiveTask>();

  constructor(admission: Admission) {
    this.#admission = admission;
  }

  /** Counts a task that is about to be stored. It has no name yet: another with the same one may be stored before it. */
  admit(task: LiveTask): void {
    this.#byId.set(task.facts.id, task);
    this.#admission.enter(task);
  }

  /** Gives its name to a task that is stored, which makes the name its own. */
  accepted(task: LiveTask): void {
    this.admit(task);
    this.#byName.set(nameOf(task.facts), task);
  }

  forget(task: LiveTask): void {
    this.#admission.ended(task);
    this.#byId.delete(task.facts.id);
    const name = nameOf(task.facts);
    if (this.#byName.get(name) === task) this.#byName.delete(name);
  }

  byId(id: string): LiveTask | undefined {
    return this.#byId.get(id);
  }

  /** The stored task with this public id, while it is not over. */
  byName(tenant: string, taskId: string): LiveTask | undefined {
    return this.#byName.get(nameOf({ tenant, taskId }));
  }

  all(): LiveTask[] {
    return [...this.#byId.values()];
  }

  ofSession(session: LiveSession): LiveTask[] {
    return this.all().filter((task) => task.session === session);
  }

  /** Those that run. */
  running(): LiveTask[] {
    return this.all().filter(({ status }) => status === 'running');
  }

  /** Those whose turn has come: they run, or their sandbox is being started. */
  taken(): LiveTask[] {
    return this.all().filter(({ isTaken }) => isTaken);
  }
}

function nameOf({ tenant, taskId }: { readonly tenant: string; readonly taskId: string }): string {
  return `${tenant}/${taskId}`;
}
