// Several things can end a task at the same time; the first one recorded is its ending, the rest are ignored.
import type { Ending } from './schema.js';

/** An ending whose words are still to be found. */
export type EndingFacts = Omit<Ending, 'message'> & { readonly message?: string };

/** Made once: an exception for each task would cost more than most of what ends it. */
const TASK_ENDS = new Error('the task ends');

export class FirstEnding {
  #first: EndingFacts | undefined;
  #decidedAt = 0;
  /** Made when the first one listens: many tasks end in the turn in which they start. */
  #controller: AbortController | undefined;

  /** Aborts as soon as there is a cause: whatever the task still does has to stop. */
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#first) this.#controller.abort(TASK_ENDS);
    }
    return this.#controller.signal;
  }

  get first(): EndingFacts | undefined {
    return this.#first;
  }

  /** Milliseconds since the first cause was recorded. */
  get sinceDecidedMs(): number {
    return performance.now() - this.#decidedAt;
  }

  /** True when this is the first cause. */
  record(facts: EndingFacts): boolean {
    if (this.#first) return false;
    this.#first = facts;
    this.#decidedAt = performance.now();
    this.#controller?.abort(TASK_ENDS);
    return true;
  }
}

const MIB = 1024 * 1024;

interface Limits {
  readonly timeoutMs: number;
  readonly memoryMb: number;
  readonly diskMb: number;
  readonly maxOutputBytes: number;
}

/** Of a limit that ended it: what it was, and how far it got. */
export function limitFacts(
  { cause, code, limitBytes, peakBytes }: EndingFacts,
  limits: Limits,
  peakMemoryBytes: number | undefined,
): Pick<Ending, 'limitBytes' | 'peakBytes'> {
  switch (cause) {
    case 'outOfMemory':
      return {
        limitBytes: limits.memoryMb * MIB,
        ...((peakBytes ?? peakMemoryBytes) ? { peakBytes: peakBytes ?? peakMemoryBytes } : {}),
      };
    case 'diskLimit':
      // With a code it was the disk of the service, and not the session's share.
      return code ? {} : { limitBytes: limits.diskMb * MIB };
    case 'outputLimit':
      // It may have been what its session holds.
      return { limitBytes: limitBytes ?? limits.maxOutputBytes };
    default:
      return {};
  }
}

/** The facts and the next step, in words. */
export function endingMessage(facts: EndingFacts, limits?: Limits): string {
  if (facts.message) return facts.message;
  switch (facts.cause) {
    case 'exited':
      return `The process exited with code ${facts.exitCode}.${leftBehind(facts)}`;
    case 'finished':
      return 'The tool finished.';
    case 'signaled':
      return `The process was ended by ${facts.signal ?? 'a signal'}.`;
    case 'outOfMemory':
      return `The task needed more than its ${limits?.memoryMb} MiB of memory; raise memoryMb of the session or use less at once.`;
    case 'outputLimit':
      return `The task printed more than ${limits?.maxOutputBytes} bytes; what fits was kept. Raise maxOutputBytes or write to a file.`;
    case 'diskLimit':
      return `The workspace is at its limit of ${limits?.diskMb} MiB, or of files and folders${holding(facts)}; remove files or raise diskMb of the session.`;
    case 'timedOut':
      return `The task timed out after ${limits?.timeoutMs} ms; raise constraints.timeoutSeconds or split the work.`;
    case 'cancelled':
      return 'The task was cancelled.';
    case 'sessionEnded':
      return 'The session ended while the task was there.';
    case 'interrupted':
      return 'The service stopped while the task ran; what it printed until then was kept. Submit it again if it may run twice.';
    case 'sandboxDied':
      return 'The sandbox ended under the task; submit it again. The session’s workspace is kept.';
    case 'startTimedOut':
      return 'The sandbox of the session did not start in time; nothing of the task ran. Submit it again.';
    case 'spawnFailed':
      return 'The program could not be started.';
    case 'toolError':
      return 'The tool failed.';
    default:
      return facts.cause satisfies never;
  }
}

function leftBehind({ processesKilled: count = 0 }: EndingFacts): string {
  if (count === 0) return '';
  const [were, what] = count === 1 ? ['1 process was', 'it'] : [`${count} processes were`, 'them'];
  return ` ${were} still running and had to be ended; for what shall go on running submit a task of its own with "background": true, which runs ${what} until it is cancelled.`;
}

function holding({ peakBytes, peakFiles }: EndingFacts): string {
  return peakBytes === undefined ? '' : `: it holds ${peakBytes} bytes in ${peakFiles} of them`;
}
