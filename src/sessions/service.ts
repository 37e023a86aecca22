import {
  CapacityExceeded,
  KillPending,
  SessionBusy,
  SessionDetached,
  SessionEnded,
  SessionIdConflict,
  SessionNotFound,
  ShuttingDown,
} from '../errors.js';
import type { SessionKey } from '../events/journal.js';
import type { Principal } from '../lib/principal.js';
import { settledWithin } from '../lib/settled-within.js';
import { Undo } from '../lib/undo.js';
import { requireIsolation } from '../sandbox/require-isolation.js';
import type { Sandbox, SandboxSpec } from '../sandbox/sandbox.js';
import type { Listed } from '../store/page.js';
import type { SessionRow } from '../store/schema.js';
import { DuplicateKey } from '../store/store.js';
import { Lane } from '../tasks/lane.js';
import { KILL_REPLY_MS } from '../tasks/live-task.js';
import { egressOf, resolveNetwork, sandboxSpec } from './defaults.js';
import { mergeLabels } from './labels.js';
import { takeLastCheckpoint } from './last-checkpoint.js';
import { LiveSession, type StateChange } from './live-session.js';
import { LiveSessions } from './live-sessions.js';
import { networkEvents } from './network-events.js';
import { newSandbox, newSessionRow, storeNewSession } from './new-session.js';
import type { EndOptions, SessionsOptions } from './options.js';
import { sessionRecord } from './record.js';
import { SessionRecovery } from './recovery.js';
import type { SessionFilter } from './repository.js';
import { type CreateSession, isOver, type PatchSession, type Session } from './schema.js';
import { endOfUnattached } from './unattached.js';
import { usageOf } from './usage.js';

export class Sessions {
  readonly #options: SessionsOptions;
  readonly #now: () => number;
  readonly #live = new LiveSessions();
  readonly #recovery: SessionRecovery;
  /** Slots taken by creates that are under way. */
  #creating = 0;
  #closed = false;

  constructor(options: SessionsOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#recovery = new SessionRecovery({
      ...options,
      now: this.#now,
      specOf: (row) => this.#specOf(row),
      enliven: (row, sandbox) => this.#enliven(row, sandbox),
      store: (session, change) => this.#store(session, change),
      attachedLate: (live) =>
        live.row.state === 'terminating' ? this.#finishEnd(live) : options.resumeTasks(live),
    });
  }

  async create(principal: Principal, body: CreateSession): Promise<Session> {
    if (this.#closed) throw new ShuttingDown();
    this.#options.requireRoom();
    const { config, repository, driver } = this.#options;
    const row = newSessionRow(principal, body, {
      config,
      isolation: driver.isolation.level,
      now: this.#now(),
    });
    if (body.sessionId && (await repository.find(principal.tenant, body.sessionId))) {
      throw new SessionIdConflict(body.sessionId);
    }
    if (this.slots().available === 0) throw new CapacityExceeded(config.MAX_SESSIONS);
    this.#creating += 1;
    try {
      return await this.#make(principal, row, body);
    } finally {
      this.#creating -= 1;
    }
  }

  async #make(principal: Principal, row: SessionRow, body: CreateSession): Promise<Session> {
    const { driver, journal, repository, fillWorkspace, log } = this.#options;
    const undo = new Undo();
    try {
      const sandbox = await newSandbox(row, driver, (each) => this.#specOf(each));
      undo.push('sandbox', () => sandbox.remove());
      if (body.checkpointId) await fillWorkspace(principal, body.checkpointId, sandbox);
      row.sandbox_uid = sandbox.uid;
      const reason = body.checkpointId ? 'restored' : 'created';
      const lastSeq = await storeNewSession({ journal, repository }, row, reason);
      return sessionRecord({ ...row, last_seq: lastSeq }, this.#enliven(row, sandbox));
    } catch (error) {
      await undo
        .run()
        .catch((err: unknown) => log.error({ err }, 'what was made for a session could not be undone'));
      if (error instanceof DuplicateKey) throw new SessionIdConflict(row.session_id);
      throw error;
    }
  }

  async get(principal: Principal, sessionId: string): Promise<Session> {
    const row = await this.find(principal, sessionId);
    const live = this.#live.get(row.id);
    return { ...this.#record(row), ...(live && { usage: await usageOf(live.sandbox) }) };
  }

  #record(row: SessionRow): Session {
    const record = sessionRecord(row, this.#live.get(row.id));
    return this.isDetached(row.id) ? { ...record, stateReason: 'notAttached' } : record;
  }

  /** The stored row. Throws SessionNotFound, also for a session of another tenant. */
  async find(principal: Principal, sessionId: string): Promise<SessionRow> {
    const row = await this.#options.repository.find(principal.tenant, sessionId);
    if (!row) throw new SessionNotFound(sessionId);
    return row;
  }

  /** The row by its internal id; from memory while the session lives here, so not for `last_seq`. */
  async byId(id: string): Promise<SessionRow | undefined> {
    return this.#live.get(id)?.row ?? this.#options.repository.byId(id);
  }

  /** Both its names, from memory while it lives here. Throws SessionNotFound. */
  async locate(principal: Principal, sessionId: string): Promise<SessionKey> {
    const row = this.#live.named(principal.tenant, sessionId)?.row ?? (await this.find(principal, sessionId));
    return { id: row.id, sessionId: row.session_id };
  }

  /** The session as it lives here. Throws SessionNotFound, SessionEnded when it takes no more work, or SessionDetached
   *  when its sandbox could not be attached yet, nor now. */
  async findLive(principal: Principal, sessionId: string): Promise<LiveSession> {
    const named = this.#live.named(principal.tenant, sessionId);
    if (named && !named.isEnding) return named;
    const row = await this.find(principal, sessionId);
    if (!named && !isOver(row.state)) requireIsolation(this.#options.driver);
    const live = named ?? (await this.#recovery.attachNow(row.id));
    if (live && !live.isEnding) return live;
    if (!live && this.isDetached(row.id)) throw new SessionDetached(sessionId);
    throw new SessionEnded(sessionId, live?.state ?? row.state);
  }

  live(id: string): LiveSession | undefined {
    return this.#live.get(id);
  }

  get allLive(): readonly LiveSession[] {
    return this.#live.all;
  }

  async list(filter: SessionFilter): Promise<Listed<Session>> {
    const { rows, next } = await this.#options.repository.list(filter);
    return { items: rows.map((row) => this.#record(row)), next };
  }

  async patch(principal: Principal, sessionId: string, patch: PatchSession): Promise<Session> {
    const live = await this.findLive(principal, sessionId);
    const { row } = live;
    const network = patch.network && resolveNetwork(patch.network);
    const changes: Partial<SessionRow> = {
      ...(patch.metadata ? { metadata: JSON.stringify(mergeLabels(row.metadata, patch.metadata)) } : {}),
      ...(patch.idleTimeoutSeconds === undefined ? {} : { idle_timeout_seconds: patch.idleTimeoutSeconds }),
      ...(patch.maxLifetimeSeconds === undefined ? {} : { max_lifetime_seconds: patch.maxLifetimeSeconds }),
      ...(network ? { network: JSON.stringify(network) } : {}),
    };
    // In memory first, so that a patch that comes meanwhile builds on this one.
    const before = { ...row };
    Object.assign(row, changes);
    try {
      await this.#options.repository.write([this.#options.repository.update(row.id, changes)]);
    } catch (error) {
      for (const name of Object.keys(changes) as (keyof SessionRow)[])
        Object.assign(row, { [name]: before[name] });
      throw error;
    }
    if (network) live.sandbox.setEgress(egressOf(network, this.#options.config));
    return this.get(principal, sessionId);
  }

  /** Ends the session and gives its final record; ending one that is over answers the same record again. Throws
   *  SessionEnded when a checkpoint is wanted and the end came first, without one. */
  async delete(
    principal: Principal,
    sessionId: string,
    { force, checkpoint }: { force: boolean; checkpoint: boolean },
  ): Promise<Session> {
    const row = await this.find(principal, sessionId);
    const live = this.#live.get(row.id) ?? (await this.#recovery.attachNow(row.id));
    if (!live && !isOver(row.state)) requireIsolation(this.#options.driver);
    if (this.isDetached(row.id)) {
      if (!force || checkpoint) throw new SessionDetached(sessionId);
      return this.#discard(row);
    }
    if (live && !live.isEnding && !force && live.isBusy) {
      throw new SessionBusy(sessionId, live.lane.waiting + live.lane.running);
    }
    const begun = live && !live.isEnding ? null : (live?.row ?? row);
    if (begun && checkpoint && begun.end_checkpoint === null) {
      throw new SessionEnded(sessionId, live?.state ?? row.state);
    }
    const checkpointName = begun ? begun.end_checkpoint : checkpoint ? 'deleted' : null;
    if (live) {
      const end = this.end(live, { reason: 'deleted', checkpointName });
      while (!(await settledWithin(end, KILL_REPLY_MS)))
        if (live.isKilling) throw new KillPending('Session', sessionId, KILL_REPLY_MS);
    }
    return sessionRecord(await this.find(principal, sessionId));
  }

  /** Ends one whose sandbox cannot be attached, and removes its files unread. */
  async #discard(row: SessionRow): Promise<Session> {
    const { driver, discardTasks, repository } = this.#options;
    await this.#recovery.giveUp(row.id, async () => {
      await driver.discard(row.id);
      await discardTasks(row.id);
      const end = { row, state: 'terminated', reason: 'deleted' } as const;
      await this.#store(end, endOfUnattached(repository, end, this.#now()));
    });
    return this.#record((await this.byId(row.id))!);
  }

  /** Cancels its tasks, takes a checkpoint if wanted, kills what runs, removes the workspace. When the checkpoint fails
   *  the session stays, without its tasks: no work is lost. */
  end(live: LiveSession, { reason, checkpointName }: EndOptions): Promise<void> {
    return live.endOnce(async () => {
      const { endTasks, repository, log } = this.#options;
      // An earlier try, or the last run of the service, came so far at least.
      const wasBegun = live.state === 'terminating';
      let finalReason = reason;
      await this.#begin(live, 'terminating', live.terminating(reason, checkpointName));
      await live.exclusively(async () => {
        live.isKilling = true;
        await endTasks(live).finally(() => {
          live.isKilling = false;
        });
        try {
          const facts = { reason, checkpointName, wasBegun };
          finalReason = await takeLastCheckpoint(live, facts, this.#options);
        } catch (error) {
          await this.#store(live, live.staying('checkpointFailed'));
          throw error;
        }
        await live.sandbox.remove();
      });
      await this.#store(live, {
        events: [
          { type: 'session.state', data: { from: 'terminating', to: 'terminated', reason: finalReason } },
        ],
        statements: repository.end(live.row.id, 'terminated', reason, this.#now()),
      });
      this.#live.delete(live);
      log.info({ sessionId: live.row.session_id, reason: finalReason }, 'session ended');
    });
  }

  /** Keeps the session still while `work` looks at its tree: nothing starts, what runs is frozen. */
  async hold<T>(
    live: LiveSession,
    work: (consistency: 'frozen' | 'stopped' | 'idle') => Promise<T>,
  ): Promise<T> {
    return live.exclusively(async () => {
      if (live.isEnding) throw new SessionEnded(live.row.session_id, live.state);
      const letGo = live.lane.hold();
      try {
        await this.#begin(live, 'checkpointing', live.checkpointing(true));
        try {
          return await work(await live.sandbox.freeze());
        } finally {
          await live.sandbox.thaw().finally(() => this.#endCheckpointing(live));
        }
      } finally {
        letGo();
      }
    });
  }

  /** The checkpoint is what it is; a state that is not stored now is stored with the next change. */
  async #endCheckpointing(live: LiveSession): Promise<void> {
    await this.#store(live, live.checkpointing(false)).catch((error: unknown) => {
      this.#options.log.error({ err: error, sessionId: live.row.session_id }, 'state could not be stored');
    });
  }

  /** Stores what begins; when that fails nothing has begun. */
  async #begin(live: LiveSession, fact: 'checkpointing' | 'terminating', change: StateChange): Promise<void> {
    try {
      await this.#store(live, change);
    } catch (error) {
      live.abandon(fact);
      throw error;
    }
  }

  /** Sessions that hold a slot, by their state. */
  countByState(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { state } of this.#live.all) counts[state] = (counts[state] ?? 0) + 1;
    return counts;
  }

  /** Of all sessions, background tasks included. */
  get runningTasks(): number {
    return this.allLive.reduce((sum, live) => sum + live.lane.running, 0);
  }

  /** How many there may be and are, those included that are being made. */
  slots(): { total: number; active: number; available: number } {
    const total = this.#options.config.MAX_SESSIONS;
    const active = this.#live.size + this.#recovery.detached + this.#creating;
    return { total, active, available: Math.max(0, total - active) };
  }

  /** Attaches the sessions of the last run. Before any request. */
  async recover(): Promise<void> {
    // Without isolation nothing can be attached; it stays as it is until there is.
    if (this.#options.driver.isolation.level !== null) await this.#recovery.recover();
  }

  /** Ends the sessions whose workspaces are gone; after their tasks have ended. */
  async endLost(): Promise<void> {
    this.#logFailed(await this.#recovery.endLost());
  }

  /** Its workspace is there, and its sandbox could not be attached yet. */
  isDetached(id: string): boolean {
    return this.#recovery.isDetached(id);
  }

  get detached(): number {
    return this.#recovery.detached;
  }

  /** Ends what the last run had begun to end. Their checkpoints may take minutes. */
  async finishEnds(): Promise<void> {
    const begun = this.allLive.filter((live) => live.row.state === 'terminating');
    this.#logFailed(await Promise.allSettled(begun.map((live) => this.#finishEnd(live))));
  }

  #finishEnd(live: LiveSession): Promise<void> {
    const { state_reason: reason, end_checkpoint: checkpointName } = live.row;
    return this.end(live, { reason: reason ?? 'deleted', checkpointName });
  }

  #logFailed(ends: readonly PromiseSettledResult<unknown>[]): void {
    for (const ended of ends) {
      if (ended.status === 'rejected')
        this.#options.log.error({ err: ended.reason }, 'session could not be ended');
    }
  }

  /** Takes no new sessions; those there stay for the next run. Resolves when none is being attached. */
  stopIntake(): Promise<void> {
    this.#closed = true;
    return this.#recovery.close();
  }

  #enliven(row: SessionRow, sandbox: Sandbox): LiveSession {
    const live = new LiveSession(row, sandbox, new Lane({ ...row, places: this.#options.places }));
    this.#live.add(live);
    return live;
  }

  async #store({ row }: Pick<LiveSession, 'row'>, change: StateChange): Promise<void> {
    if (change.events.length === 0) return this.#options.repository.write(change.statements);
    await this.#options.journal.append({ id: row.id, sessionId: row.session_id }, change.events, {
      after: change.statements,
    });
  }

  #specOf(row: SessionRow): SandboxSpec {
    const { config, journal, log } = this.#options;
    return { ...sandboxSpec(row, config), onEgress: networkEvents(row, journal, log) };
  }
}
