// What sessions use, told as an event while tasks run: only when it has changed much, and not often.
import type { Journal } from '../events/journal.js';
import type { Logger } from '../observability/logger.js';
import type { Sandbox, SandboxUsage } from '../sandbox/sandbox.js';
import type { LiveSession } from './live-session.js';
import type { Limits, SessionUsage } from './schema.js';

const LOOK_EVERY_MS = 2_000;
const TELL_EVERY_MS = 10_000;
const MIB = 1024 * 1024;

/** As it is now; what cannot be found out is left out. */
export async function usageOf(sandbox: Sandbox): Promise<SessionUsage> {
  const nothing: SandboxUsage = {};
  const { memoryBytes, cpuMs, processes, diskBytes, inodes } = await sandbox.usage().catch(() => nothing);
  return {
    ...(memoryBytes === undefined ? {} : { memoryBytes }),
    ...(cpuMs === undefined ? {} : { cpuMs: Math.round(cpuMs) }),
    ...(processes === undefined ? {} : { processes }),
    ...(diskBytes === undefined ? {} : { diskBytes }),
    ...(inodes === undefined ? {} : { files: inodes }),
  };
}

/** A tenth of a limit, or a second of CPU. */
export function hasChangedMuch(before: SessionUsage, now: SessionUsage, limits: Limits): boolean {
  const hasMoved = (name: keyof SessionUsage, much: number) =>
    Math.abs((now[name] ?? 0) - (before[name] ?? 0)) >= much;
  return (
    hasMoved('memoryBytes', (limits.memoryMb * MIB) / 10) ||
    hasMoved('diskBytes', (limits.diskMb * MIB) / 10) ||
    hasMoved('processes', limits.maxProcesses / 10) ||
    hasMoved('cpuMs', 1000)
  );
}

export interface UsageTellerOptions {
  readonly sessions: () => readonly LiveSession[];
  readonly journal: Journal;
  readonly log: Logger;
}

export class UsageTeller {
  readonly #options: UsageTellerOptions;
  readonly #told = new WeakMap<LiveSession, { readonly usage: SessionUsage; readonly at: number }>();
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;

  constructor(options: UsageTellerOptions) {
    this.#options = options;
  }

  start(): void {
    this.#timer ??= setInterval(() => this.#look(), LOOK_EVERY_MS).unref();
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#looking;
  }

  /** Rounds do not overlap. */
  #look(): void {
    this.#looking ??= this.#round()
      .catch((err: unknown) => this.#options.log.warn({ err }, 'usage of sessions could not be told'))
      .finally(() => {
        this.#looking = undefined;
      });
  }

  async #round(): Promise<void> {
    for (const live of this.#options.sessions()) {
      if (live.state !== 'active') continue;
      const told = this.#told.get(live);
      const now = performance.now();
      if (told && now - told.at < TELL_EVERY_MS) continue;
      const usage = await usageOf(live.sandbox);
      // Asked again, since it may have ended meanwhile, and nothing comes after the end.
      if (live.state !== 'active' || !hasChangedMuch(told?.usage ?? {}, usage, live.limits)) continue;
      this.#told.set(live, { usage, at: now });
      const { id, session_id: sessionId } = live.row;
      await this.#options.journal.append({ id, sessionId }, [{ type: 'session.usage', data: usage }]);
    }
  }
}
