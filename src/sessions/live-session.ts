// A session that holds a slot on this node: its sandbox, its lane, and the facts its state is derived from.
import type { NewEvent } from '../events/schema.js';
import { type Clocks, clockChange, SYSTEM_CLOCKS } from '../lib/clock-change.js';
import type { Sandbox } from '../sandbox/sandbox.js';
import type { SessionRow } from '../store/schema.js';
import type { Statement } from '../store/store.js';
import type { Lane } from '../tasks/lane.js';
import { EndWarnings, type Expiry, expiryOf } from './expiry.js';
import type { Limits, SessionState } from './schema.js';
import { type SessionFacts, stateOf } from './states.js';

/** What has to be stored for a change of state, in one unit with whatever caused it; empty when the state stays. */
export interface StateChange {
  readonly events: readonly NewEvent[];
  readonly statements: readonly Statement[];
}

export class LiveSession {
  readonly limits: Limits;
  lastActiveAt: number;
  /** Tasks on their way into the lane: being stored. */
  readonly accepting = { lane: 0, background: 0 };
  /** Its tasks were told to end, and are not over yet. */
  isKilling = false;
  /** An end that failed is not tried again before this time of the steady clock. */
  endPostponedUntil = 0;
  /** How often its last checkpoint failed at an end that nobody asked for. */
  failedEnds = 0;
  /** Warnings already sent for the end that is near. */
  readonly warnings = new EndWarnings();
  /** About what is stored of it, as the journal last said. */
  #keptBytes: number;
  readonly #changeSinceMade: () => number;
  #changeSinceWork: () => number;
  #state: SessionState;
  #facts: SessionFacts = { terminating: false, checkpointing: false, runningTasks: 0 };
  #exclusive: Promise<unknown> = Promise.resolve();
  #ending: Promise<void> | undefined;

  constructor(
    readonly row: SessionRow,
    readonly sandbox: Sandbox,
    readonly lane: Lane,
    private readonly clocks: Clocks = SYSTEM_CLOCKS,
  ) {
    this.#changeSinceMade = clockChange(clocks);
    this.#changeSinceWork = this.#changeSinceMade;
    this.limits = JSON.parse(row.limits) as Limits;
    this.lastActiveAt = row.last_active_at;
    this.#keptBytes = row.stored_bytes;
    this.#state = row.state as SessionState;
  }

  get state(): SessionState {
    return this.#state;
  }

  /** About how many bytes are stored of its events and their output. */
  get keptBytes(): number {
    return this.#keptBytes;
  }

  keeps(bytes: number): void {
    this.#keptBytes = bytes;
  }

  get isEnding(): boolean {
    return this.#facts.terminating;
  }

  /** Its end was begun and has failed. */
  get isEndStuck(): boolean {
    return this.isEnding && !this.#ending;
  }

  get isBusy(): boolean {
    return !this.lane.isIdle || this.accepting.lane + this.accepting.background > 0;
  }

  get expiry(): Expiry | null {
    // A clock that was put forward or back ends nothing, and keeps nothing for ever.
    const created_at = this.row.created_at + this.#changeSinceMade();
    const last_active_at = this.lastActiveAt + this.#changeSinceWork();
    return expiryOf({ ...this.row, created_at, last_active_at }, this.isBusy);
  }

  isLifetimeOver(now: number): boolean {
    const { expiry } = this;
    return expiry?.because === 'lifetime' && expiry.at <= now;
  }

  /** Work is what moves the idle clock. */
  worked(now: number): void {
    this.lastActiveAt = now;
    this.#changeSinceWork = clockChange(this.clocks);
  }

  taskStarted(now: number): StateChange {
    this.worked(now);
    return this.#change({ runningTasks: this.#facts.runningTasks + 1 }, 'taskStarted');
  }

  taskEnded(now: number): StateChange {
    this.worked(now);
    return this.#change({ runningTasks: this.#facts.runningTasks - 1 }, 'tasksEnded');
  }

  checkpointing(is: boolean): StateChange {
    return this.#change({ checkpointing: is }, is ? 'checkpoint' : 'checkpointEnded');
  }

  /** The wish for a last checkpoint is stored with it, so that it outlives a crash. */
  terminating(reason: string, checkpointName: string | null): StateChange {
    this.row.end_checkpoint = checkpointName;
    const { events, statements } = this.#change({ terminating: true }, reason);
    const wish = {
      sql: 'update sessions set end_checkpoint = ? where id = ?',
      parameters: [checkpointName, this.row.id],
    };
    return { events, statements: [...statements, wish] };
  }

  /** Forgets what was begun and could not be stored. */
  abandon(fact: 'checkpointing' | 'terminating'): void {
    this.#facts = { ...this.#facts, [fact]: false };
    this.#state = stateOf(this.#facts);
  }

  /** Takes an end back that could not be made. */
  staying(reason: string): StateChange {
    return this.#change({ terminating: false }, reason);
  }

  /** Brings a state that an earlier run of the service left behind back to the truth. */
  settle(reason: string): StateChange {
    return this.#change({}, reason);
  }

  /** Work that needs the session for itself (a checkpoint, an end) comes one after the other. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#exclusive.then(work, work);
    this.#exclusive = result.catch(() => undefined);
    return result;
  }

  /** Runs the end once; who asks again waits for the same end. One that failed may be tried again. */
  endOnce(end: () => Promise<void>): Promise<void> {
    this.#ending ??= end().catch((error: unknown) => {
      this.#ending = undefined;
      throw error;
    });
    return this.#ending;
  }

  #change(facts: Partial<SessionFacts>, reason: string): StateChange {
    this.#facts = { ...this.#facts, ...facts };
    const from = this.#state;
    const to = stateOf(this.#facts);
    // Why it ends stays, whatever its last tasks do.
    if (!(from === 'terminating' && to === 'terminating')) this.row.state_reason = reason;
    const statements = [
      {
        sql: 'update sessions set state = ?, state_reason = ?, last_active_at = ? where id = ?',
        parameters: [to, this.row.state_reason, this.lastActiveAt, this.row.id],
      },
    ];
    if (from === to) return { events: [], statements };
    this.#state = to;
    return { events: [{ type: 'session.state', data: { from, to, reason } }], statements };
  }
}
