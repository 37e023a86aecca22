// Sessions of the last run of the service. Their sandboxes are attached again at the start. One whose workspace is surely
// gone is lost; any other failure says nothing about the workspace (a busy loop device, no descriptors, an unreadable
// disk), so the session is kept as it is, detached, and attaching it is tried again until it succeeds.
import { setTimeout as sleep } from 'node:timers/promises';
import { Semaphore } from '../lib/semaphore.js';
import type { Logger } from '../observability/logger.js';
import { type Sandbox, type SandboxDriver, type SandboxSpec, WorkspaceGone } from '../sandbox/sandbox.js';
import type { SessionRow } from '../store/schema.js';
import type { LiveSession, StateChange } from './live-session.js';
import type { SessionRepository } from './repository.js';
import { endOfUnattached, type Unattached, unattached } from './unattached.js';

/** Attaching waits for mounts and file system checks, mostly in other processes. */
const ATTACHED_AT_ONCE = 8;
const FIRST_RETRY_MS = 2_000;
const LAST_RETRY_MS = 60_000;

export interface SessionRecoveryOptions {
  readonly repository: SessionRepository;
  readonly driver: SandboxDriver;
  readonly log: Logger;
  readonly now: () => number;
  readonly specOf: (row: SessionRow) => SandboxSpec;
  /** Makes it a session that takes work. */
  readonly enliven: (row: SessionRow, sandbox: Sandbox) => LiveSession;
  readonly store: (session: { readonly row: SessionRow }, change: StateChange) => Promise<void>;
  /** Called for a session that was attached after the start: its tasks wait again, or its end goes on. */
  readonly attachedLate: (live: LiveSession) => Promise<void>;
  /** Time from one try to the next, doubled up to a minute. Default: 2 s. */
  readonly firstRetryMs?: number;
}

interface Detached {
  readonly row: SessionRow;
  /** The try that is under way. */
  attaching: Promise<LiveSession | undefined> | undefined;
}

export class SessionRecovery {
  readonly #options: SessionRecoveryOptions;
  readonly #lost: Unattached[] = [];
  readonly #detached = new Map<string, Detached>();
  readonly #slots = new Semaphore(ATTACHED_AT_ONCE);
  readonly #closing = new AbortController();
  readonly #retrying = new Set<Promise<void>>();

  constructor(options: SessionRecoveryOptions) {
    this.#options = options;
  }

  /** How many sessions wait to be attached. They hold their slots. */
  get detached(): number {
    return this.#detached.size;
  }

  isDetached(id: string): boolean {
    return this.#detached.has(id);
  }

  /** Attaches the sessions of the last run. Before any request. */
  async recover(): Promise<void> {
    const { repository, driver } = this.#options;
    const rows = await repository.unfinished();
    await driver.sweep(new Set(rows.map((row) => row.id)));
    await Promise.all(rows.map((row) => this.#slots.run(() => this.#recoverOne(row))));
    // Workspaces of which a part was removed already.
    const ended = new Set(this.#lost.filter(({ state }) => state === 'terminated').map(({ row }) => row));
    if (ended.size > 0)
      await driver.sweep(new Set(rows.filter((row) => !ended.has(row)).map(({ id }) => id)));
  }

  /** Ends the sessions whose workspaces are gone; after their tasks have ended. */
  endLost(): Promise<PromiseSettledResult<void>[]> {
    const { repository, store, now } = this.#options;
    return Promise.allSettled(
      this.#lost.splice(0).map((end) => store(end, endOfUnattached(repository, end, now()))),
    );
  }

  /** Tries a detached session once more, now. Undefined when it could not be attached, or never was detached. */
  attachNow(id: string): Promise<LiveSession | undefined> {
    const detached = this.#detached.get(id);
    if (!detached || this.#closing.signal.aborted) return Promise.resolve(undefined);
    detached.attaching ??= this.#slots
      .run(() => this.#attachLate(detached))
      .finally(() => {
        detached.attaching = undefined;
      });
    return detached.attaching;
  }

  /** Gives a detached session up: nothing tries to attach it while `work` removes it, nor after that. When the work fails
   *  it stays detached. */
  async giveUp(id: string, work: () => Promise<void>): Promise<void> {
    const detached = this.#detached.get(id);
    while (detached?.attaching) await detached.attaching;
    if (!detached || this.#detached.get(id) !== detached) return;
    const working = work().then(() => this.#detached.delete(id));
    const settled = (): undefined => {
      detached.attaching = undefined;
    };
    detached.attaching = working.then(settled, settled);
    await working;
  }

  /** Tries nothing any more. Resolves when no try is under way. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all([...this.#detached.values()].map(({ attaching }) => attaching));
    await Promise.all(this.#retrying);
  }

  async #recoverOne(row: SessionRow): Promise<void> {
    const { repository, log } = this.#options;
    try {
      await this.#attach(row);
    } catch (error) {
      if (error instanceof WorkspaceGone) {
        const end = await unattached(repository, row);
        if (end.state === 'failed') log.error({ err: error, sessionId: row.session_id }, 'workspace lost');
        this.#lost.push(end);
        return;
      }
      this.#said(row, error);
      this.#detached.set(row.id, { row, attaching: undefined });
      const retrying = this.#retry(row.id).finally(() => this.#retrying.delete(retrying));
      this.#retrying.add(retrying);
    }
  }

  async #attach(row: SessionRow): Promise<LiveSession> {
    const { repository, driver, specOf, enliven, store, log } = this.#options;
    const isolation = driver.isolation.level;
    const sandbox = await driver.attach(specOf(row), row.sandbox_uid);
    const live = enliven({ ...row, isolation }, sandbox);
    // What cannot be stored now is stored with the session's next change; the session is there all the same.
    const settle = async () => {
      // What the isolation was before says nothing about what stands now.
      if (row.isolation !== isolation) await repository.write([repository.update(row.id, { isolation })]);
      if (row.state !== 'terminating') await store(live, live.settle('serviceRestarted'));
    };
    await settle().catch((err: unknown) =>
      log.error({ err, sessionId: row.session_id }, 'state could not be stored'),
    );
    return live;
  }

  async #attachLate(detached: Detached): Promise<LiveSession | undefined> {
    const { row } = detached;
    const { attachedLate, log } = this.#options;
    if (this.#detached.get(row.id) !== detached || this.#closing.signal.aborted) return undefined;
    try {
      const live = await this.#attach(row);
      this.#detached.delete(row.id);
      log.info({ sessionId: row.session_id }, 'session was attached');
      await attachedLate(live).catch((err: unknown) =>
        log.error({ err, sessionId: row.session_id }, 'tasks of a session could not be brought back'),
      );
      return live;
    } catch (error) {
      this.#said(row, error);
      return undefined;
    }
  }

  async #retry(id: string): Promise<void> {
    const { signal } = this.#closing;
    let waitMs = this.#options.firstRetryMs ?? FIRST_RETRY_MS;
    while (this.#detached.has(id) && !signal.aborted) {
      await sleep(waitMs, undefined, { signal, ref: false }).catch(() => {});
      await this.attachNow(id);
      waitMs = Math.min(2 * waitMs, LAST_RETRY_MS);
    }
  }

  #said({ session_id: sessionId }: SessionRow, err: unknown): void {
    this.#options.log.error({ err, sessionId }, 'session could not be attached yet; it is tried again');
  }
}
