// The sessions that hold a slot on this node, by internal id and by the name their tenant knows.
import type { LiveSession } from './live-session.js';

export class LiveSessions {
  readonly #byId = new Map<string, LiveSession>();
  readonly #byName = new Map<string, LiveSession>();

  get size(): number {
    return this.#byId.size;
  }

  get all(): readonly LiveSession[] {
    return [...this.#byId.values()];
  }

  get(id: string): LiveSession | undefined {
    return this.#byId.get(id);
  }

  named(tenant: string, sessionId: string): LiveSession | undefined {
    return this.#byName.get(nameOf(tenant, sessionId));
  }

  add(live: LiveSession): void {
    this.#byId.set(live.row.id, live);
    this.#byName.set(nameOf(live.row.tenant, live.row.session_id), live);
  }

  delete({ row }: LiveSession): void {
    this.#byId.delete(row.id);
    this.#byName.delete(nameOf(row.tenant, row.session_id));
  }
}

/** A tenant has no slash in its name. */
function nameOf(tenant: string, sessionId: string): string {
  return `${tenant}/${sessionId}`;
}
