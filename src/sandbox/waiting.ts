// Processes of one agent that wait, confined and under their limits, for the next program. The agent says who waits;
// how many may, and under which numbers, is ours to say.
import type { Logger } from '../observability/logger.js';
import type { ProgramGroup } from './program-group.js';
import { ProtocolError } from './protocol.js';

const MAX_WAITING = 8;

export interface Waiting {
  readonly id: number;
  readonly group: ProgramGroup | null;
  /** How often modules had been loaded when it was made; those made before the last time are outdated. */
  readonly loaded: number;
}

export interface WaitingOptions {
  /** Finds the group for a process that waits for its program; `keeperPid` is what the agent calls it. */
  groupFor(keeperPid: number): Promise<ProgramGroup | null>;
  /** One that is not needed any more. */
  discard(waiting: Waiting): void;
  readonly log: Logger;
}

export class WaitingProcesses {
  readonly #options: WaitingOptions;
  readonly #known = new Set<number>();
  readonly #waiting: Waiting[] = [];
  /** Those that are being put under their limits. */
  #coming = 0;
  /** The most that `loaded` was of any. */
  #newest = 0;
  #isClosed = false;

  constructor(options: WaitingOptions) {
    this.#options = options;
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  /** The most that `loaded` was of any. */
  get timesLoaded(): number {
    return this.#newest;
  }

  /** True for a number that was ever in use. */
  knows(id: number): boolean {
    return this.#known.has(id);
  }

  /** Resolves when it may be taken. Throws ProtocolError, at once, for one that nobody asked for. */
  add(id: number, payload: Buffer): Promise<void> {
    const said = JSON.parse(payload.toString('utf8')) as { keeper?: unknown; loaded?: unknown } | null;
    if (this.#known.has(id) || this.#waiting.length + this.#coming >= MAX_WAITING) {
      throw new ProtocolError('a process waits that nobody asked for');
    }
    this.#known.add(id);
    const keeper = typeof said?.keeper === 'number' ? said.keeper : Number.NaN;
    return this.#limitAndKeep(id, keeper, typeof said?.loaded === 'number' ? said.loaded : 0);
  }

  take(): Waiting | undefined {
    return this.#waiting.shift();
  }

  /** It is gone before it was used; undefined when it does not wait. */
  remove(id: number): Waiting | undefined {
    const at = this.#waiting.findIndex((each) => each.id === id);
    return at < 0 ? undefined : this.#waiting.splice(at, 1)[0];
  }

  /** All are discarded, those still coming too. */
  close(): void {
    this.#isClosed = true;
    for (const each of this.#waiting.splice(0)) this.#options.discard(each);
  }

  async #limitAndKeep(id: number, keeperPid: number, loaded: number): Promise<void> {
    const { groupFor, discard, log } = this.#options;
    this.#coming += 1;
    const group = await groupFor(keeperPid).catch((error: unknown) => {
      log.warn({ err: error }, 'no limit group for a program');
      return null;
    });
    this.#coming -= 1;
    this.#newest = Math.max(this.#newest, loaded);
    if (this.#isClosed || loaded < this.#newest) return discard({ id, group, loaded });
    this.#waiting.push({ id, group, loaded });
    for (const outdated of this.#waiting.filter((each) => each.loaded < this.#newest)) {
      this.remove(outdated.id);
      discard(outdated);
    }
  }
}
