// What the sessions are given to work with.
import type { Config } from '../config.js';
import type { Journal } from '../events/journal.js';
import type { Principal } from '../lib/principal.js';
import type { Logger } from '../observability/logger.js';
import type { Sandbox, SandboxDriver } from '../sandbox/sandbox.js';
import type { Places } from '../tasks/places.js';
import type { LiveSession } from './live-session.js';
import type { SessionRepository } from './repository.js';

export interface SessionsOptions {
  readonly repository: SessionRepository;
  readonly journal: Journal;
  readonly driver: SandboxDriver;
  readonly config: Config;
  readonly log: Logger;
  /** Throws StoreFull while nothing more may be stored. */
  readonly requireRoom: () => void;
  /** In which their tasks run. */
  readonly places: Places;
  /** Ends all tasks of a session as `sessionEnded`; resolves when they are gone. */
  readonly endTasks: (live: LiveSession) => Promise<void>;
  /** Brings back the tasks that waited in a session which could not be attached at the start. */
  readonly resumeTasks: (live: LiveSession) => Promise<void>;
  /** Ends the tasks that wait in a session which cannot be attached. */
  readonly discardTasks: (sessionRowId: string) => Promise<void>;
  /** Takes a checkpoint of a session whose tasks are over. */
  readonly takeCheckpoint: (live: LiveSession, name: string | null) => Promise<{ checkpointId: string }>;
  /** Fills a fresh workspace; the checkpoint must be the principal's. */
  readonly fillWorkspace: (principal: Principal, checkpointId: string, sandbox: Sandbox) => Promise<void>;
  readonly now?: () => number;
}

export interface EndOptions {
  /** Why, as it stands in the record: `deleted`, `idle`, `lifetime`. */
  readonly reason: string;
  /** Null for none. */
  readonly checkpointName: string | null;
}
