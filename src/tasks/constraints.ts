// What a task may use: what it asked for, else what its session has. More than allowed is refused, not clipped.
import type { Config } from '../config.js';
import { ValidationFailed, type Violation } from '../errors.js';
import type { Limits } from '../sessions/schema.js';
import type { Constraints } from './schema.js';

const DEFAULT_KILL_GRACE_MS = 250;

/** In the units in which they are enforced. */
export interface TaskLimits {
  readonly timeoutMs: number;
  readonly maxOutputBytes: number;
  readonly killGraceMs: number;
  /** Only when the task asked for less than its session has. */
  readonly memoryBytes: number | undefined;
}

/** Throws ValidationFailed when more is asked for than may be given. For a new task only: one that was accepted keeps
 *  what it was given, also when the operator allows less since. */
export function requireAllowed(
  asked: Constraints,
  session: Limits,
  config: Pick<Config, 'MAX_TIMEOUT_SECONDS' | 'MAX_MAX_OUTPUT_BYTES'>,
): void {
  const maxima = {
    timeoutSeconds: config.MAX_TIMEOUT_SECONDS,
    maxMemoryMb: session.memoryMb,
    maxOutputBytes: config.MAX_MAX_OUTPUT_BYTES,
  };
  const tooMuch: Violation[] = (Object.keys(maxima) as (keyof typeof maxima)[])
    .filter((name) => (asked[name] ?? 0) > maxima[name])
    .map((name) => ({
      where: `/body/constraints/${name}`,
      given: asked[name],
      rule: `must be at most ${maxima[name]} ${name === 'maxMemoryMb' ? 'in this session' : 'on this service'}`,
    }));
  if (tooMuch.length > 0) throw new ValidationFailed(tooMuch);
}

export function resolveConstraints(asked: Constraints, session: Limits): TaskLimits {
  return {
    timeoutMs: (asked.timeoutSeconds ?? session.timeoutSeconds) * 1000,
    maxOutputBytes: asked.maxOutputBytes ?? session.maxOutputBytes,
    killGraceMs: asked.killGraceMs ?? DEFAULT_KILL_GRACE_MS,
    memoryBytes: asked.maxMemoryMb === undefined ? undefined : asked.maxMemoryMb * 1024 * 1024,
  };
}
