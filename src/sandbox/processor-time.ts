// Whether a process could have answered, by the kernel's account of its processor time. On a loaded host, and under a limit
// on its processor, a process that is well says nothing for long: it waits for its turn, and only who had one is late.
import { readKernelFile } from './limits/kernel-file.js';

/** A look at one process: what it has run and waited for a processor since it began, nanoseconds. */
export interface ProcessorReading {
  /** One letter, as in /proc/PID/stat; `R` runs or waits for its turn. */
  readonly state: string;
  readonly ranNs: number;
  readonly waitedNs: number;
}

/** Undefined when the kernel does not say, or the process is gone. */
export function readProcessor(pid: number): ProcessorReading | undefined {
  const stat = textOf(`/proc/${pid}/stat`);
  const [ranNs, waitedNs] = (textOf(`/proc/${pid}/schedstat`) || 'unknown').split(' ').map(Number);
  if (!stat || !Number.isFinite(ranNs) || !Number.isFinite(waitedNs)) return undefined;
  return { state: stat.slice(stat.lastIndexOf(')') + 2).charAt(0), ranNs: ranNs!, waitedNs: waitedNs! };
}

function textOf(path: string): string | null {
  try {
    return readKernelFile(path);
  } catch {
    return null;
  }
}

/** Tells of each span between two looks whether the process could have answered in it. */
export class ProcessorTime {
  readonly #read: () => ProcessorReading | undefined;
  readonly #now: () => number;
  #last: { readonly reading: ProcessorReading | undefined; readonly at: number };

  constructor(read: () => ProcessorReading | undefined, now: () => number = () => performance.now()) {
    this.#read = read;
    this.#now = now;
    this.#last = { reading: read(), at: now() };
  }

  /** Since the last look. True as well when nothing is known. */
  couldAnswer(): boolean {
    const before = this.#last;
    const [reading, at] = [this.#read(), this.#now()];
    this.#last = { reading, at };
    if (!reading || !before.reading) return true;
    const ranNs = reading.ranNs - before.reading.ranNs;
    // What it waits for just now is added to its account only when its turn comes.
    if (reading.state === 'R' && ranNs === 0) return false;
    return (reading.waitedNs - before.reading.waitedNs) / 1e6 <= (at - before.at) / 2;
  }
}
