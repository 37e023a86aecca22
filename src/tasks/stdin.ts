// Standard input of running tasks. Bytes wait in memory until the program has read what came before, perhaps until it ends:
// what may wait is bounded, for each task and for all of them.
import { StdinClosed, StdinFull, TaskNotRunning } from '../errors.js';
import { type Deferred, deferred } from '../lib/deferred.js';
import { StdinGone } from '../sandbox/sandbox.js';
import type { LiveTask } from './live-task.js';

/** What may wait for one program; a single larger piece may wait alone. */
const TASK_BYTES = 1024 * 1024;

export interface StdinWrite {
  readonly bytes: Uint8Array;
  /** Close it after these bytes. */
  readonly close: boolean;
  /** Waits for room instead of being refused. Whoever sets it must not send the next piece before this one is taken. */
  readonly isPatient?: boolean;
}

export class StdinRoom {
  readonly #maxBytes: number;
  readonly #ofTask = new Map<LiveTask, number>();
  #ofAll = 0;
  #freed: Deferred<void> | undefined;

  /** `maxBytes` may wait for all programs together. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes that wait. */
  get waitingBytes(): number {
    return this.#ofAll;
  }

  /** Resolves when the program has taken all of it. Throws TaskNotRunning, StdinClosed, or StdinFull. */
  async write(task: LiveTask, { bytes, close, isPatient = false }: StdinWrite): Promise<void> {
    const { taskId } = task.facts;
    const size = bytes.byteLength;
    while (isPatient && isOpen(task) && this.#full(task, size)) await this.#whenFreed();
    requireOpen(task);
    const full = this.#full(task, size);
    if (full) throw new StdinFull(taskId, full.ofTask, full.maxBytes);
    this.#add(task, size);
    try {
      await task.exec!.writeStdin(bytes, close);
    } catch (error) {
      if (error instanceof StdinGone) throw new StdinClosed(taskId);
      throw error;
    } finally {
      this.#add(task, -size);
    }
  }

  /** Which limit the bytes would pass; undefined when they have room. */
  #full(task: LiveTask, size: number): { ofTask: boolean; maxBytes: number } | undefined {
    const ofTask = this.#ofTask.get(task) ?? 0;
    if (size === 0) return undefined;
    if (ofTask > 0 && ofTask + size > TASK_BYTES) return { ofTask: true, maxBytes: TASK_BYTES };
    if (this.#ofAll > 0 && this.#ofAll + size > this.#maxBytes)
      return { ofTask: false, maxBytes: this.#maxBytes };
    return undefined;
  }

  #add(task: LiveTask, size: number): void {
    const waiting = (this.#ofTask.get(task) ?? 0) + size;
    if (waiting > 0) this.#ofTask.set(task, waiting);
    else this.#ofTask.delete(task);
    this.#ofAll += size;
    if (size > 0) return;
    this.#freed?.resolve();
    this.#freed = undefined;
  }

  #whenFreed(): Promise<void> {
    this.#freed ??= deferred();
    return this.#freed.promise;
  }
}

const isOpen = ({ exec, status }: LiveTask) => exec !== undefined && status === 'running';

function requireOpen(task: LiveTask): void {
  const { taskId, arguments: given } = task.facts;
  if (given.stdinOpen !== true) throw new StdinClosed(taskId);
  if (!isOpen(task)) throw new TaskNotRunning(taskId, task.status);
}
