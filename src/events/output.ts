// A task's output on its way into the journal: the first bytes after quiet go at once, what follows closely is joined,
// and a task that prints faster than the disk writes is held up instead of filling our memory. One append follows the
// other, so that a refused one leaves no hole before bytes that were stored.
import { type Deferred, deferred } from '../lib/deferred.js';
import type { Journal, SessionKey } from './journal.js';
import { OutputTail } from './output-tail.js';
import type { NewEvent, OutputStream } from './schema.js';
import { incompleteTail } from './utf8.js';

/** Most bytes of one event, and how long bytes may wait for others. */
const EVENT_BYTES = 64 * 1024;
const JOIN_MS = 20;
/** About as much is appended at once: little enough that nothing else waits long while it is made into events, and that
 *  readers who keep up are served from the journal's tail instead of the store. */
const APPEND_BYTES = 256 * 1024;
/** From so many unstored bytes on the task waits, until half of them are stored. */
const MAX_UNSTORED_BYTES = 4 * 1024 * 1024;

export interface OutputWriterOptions {
  readonly journal: Pick<Journal, 'append'>;
  readonly session: SessionKey;
  readonly task: { readonly id: string; readonly taskId: string };
  /** Of both streams together; what exceeds it is dropped. */
  readonly maxBytes: number;
  /** How much more may be stored of the session by all its tasks, without what is on its way. */
  sessionRoom(): number;
  /** Called once, when the first byte is dropped: what follows is dropped too. */
  onLimit(whose: 'task' | 'session'): void;
  /** Called once, when the store refused output; what comes later is dropped. */
  onError(error: unknown): void;
  /** Milliseconds of a clock that only goes forward. */
  readonly now?: () => number;
}

interface Segment {
  readonly stream: OutputStream;
  readonly chunks: Uint8Array[];
}

export class OutputWriter {
  readonly #options: OutputWriterOptions;
  readonly #now: () => number;
  /** In the order of arrival; neighbours are of different streams. */
  #segments: Segment[] = [];
  #waitingBytes = 0;
  #unstoredBytes = 0;
  #timer: NodeJS.Timeout | undefined;
  #lastSent = Number.NEGATIVE_INFINITY;
  #acceptedBytes = 0;
  readonly #stored = { stdout: 0, stderr: 0 };
  readonly #offsets = { stdout: 0, stderr: 0 };
  /** The beginning of a character whose rest has not come yet. */
  readonly #held: Record<OutputStream, Uint8Array> = { stdout: NOTHING, stderr: NOTHING };
  readonly #tails = { stdout: new OutputTail(), stderr: new OutputTail() };
  #appending: Promise<void> | undefined;
  #room: Deferred<void> | undefined;
  #limitReached = false;
  #failed = false;

  constructor(options: OutputWriterOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** Bytes stored of each stream. */
  get bytes(): { readonly stdout: number; readonly stderr: number } {
    return { ...this.#stored };
  }

  /** All that is stored, as text; undefined when it is more than the tails hold. */
  get whole(): Readonly<Record<OutputStream, string>> | undefined {
    const [stdout, stderr] = [this.tail('stdout'), this.tail('stderr')];
    if (stdout.truncated || stderr.truncated) return undefined;
    return { stdout: stdout.text, stderr: stderr.text };
  }

  /** The end of what is stored of a stream as text, at most 8 KiB of it. */
  tail(stream: OutputStream): { readonly text: string; readonly truncated: boolean } {
    return this.#tails[stream].read();
  }

  /** Takes a chunk, which must not be changed afterwards; a returned promise asks to wait before the next. */
  write(stream: OutputStream, chunk: Uint8Array): void | Promise<void> {
    if (this.#failed || this.#limitReached) return;
    const ownRoom = this.#options.maxBytes - this.#acceptedBytes;
    const sessionRoom = Math.max(0, this.#options.sessionRoom() - this.#unstoredBytes);
    const left = Math.min(ownRoom, sessionRoom);
    const accepted = chunk.length <= left ? chunk : chunk.subarray(0, left);
    if (accepted.length > 0) {
      this.#acceptedBytes += accepted.length;
      this.#queue(stream, accepted);
      this.#sendWhenDue();
    }
    if (accepted.length < chunk.length) {
      this.#limitReached = true;
      this.#options.onLimit(ownRoom <= sessionRoom ? 'task' : 'session');
    }
    if (this.#unstoredBytes < MAX_UNSTORED_BYTES || this.#failed) return;
    this.#room ??= deferred();
    return this.#room.promise;
  }

  /** Sends everything, incomplete characters too, and waits until it is stored or refused. To be called at the end. */
  async flush(): Promise<void> {
    for (;;) {
      await this.#appending;
      if (this.#waitingBytes === 0) break;
      if (!this.#appending) this.#send({ atTheEnd: false });
    }
    this.#send({ atTheEnd: true });
    await this.#appending;
  }

  #queue(stream: OutputStream, chunk: Uint8Array): void {
    const newest = this.#segments.at(-1);
    if (newest?.stream === stream) newest.chunks.push(chunk);
    else this.#segments.push({ stream, chunks: [chunk] });
    this.#waitingBytes += chunk.length;
    this.#unstoredBytes += chunk.length;
  }

  #sendWhenDue(): void {
    if (this.#appending) return;
    const quietMs = this.#now() - this.#lastSent;
    if (this.#waitingBytes >= EVENT_BYTES || quietMs >= JOIN_MS) this.#send({ atTheEnd: false });
    else this.#timer ??= setTimeout(() => this.#send({ atTheEnd: false }), JOIN_MS - quietMs);
  }

  #send({ atTheEnd }: { atTheEnd: boolean }): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#failed) return;
    const events = this.#takeSegments().flatMap(({ stream, chunks }) =>
      this.#eventsOf(stream, chunks, false),
    );
    if (atTheEnd) {
      events.push(...this.#eventsOf('stdout', [], true), ...this.#eventsOf('stderr', [], true));
    }
    if (events.length === 0) return;
    this.#lastSent = this.#now();
    this.#appending = this.#append(events).then(() => this.#goOn(events));
  }

  /** What came first of what waits, as much as is appended at once. */
  #takeSegments(): Segment[] {
    const taken: Segment[] = [];
    let bytes = 0;
    while (this.#segments.length > 0 && bytes < APPEND_BYTES) {
      const { stream, chunks } = this.#segments[0]!;
      let count = 0;
      while (count < chunks.length && bytes < APPEND_BYTES) bytes += chunks[count++]!.length;
      taken.push({ stream, chunks: chunks.splice(0, count) });
      if (chunks.length === 0) this.#segments.shift();
    }
    this.#waitingBytes -= bytes;
    return taken;
  }

  /** Cut into pieces that end with whole characters; the beginning of a character is held for the next time. */
  #eventsOf(stream: OutputStream, chunks: readonly Uint8Array[], atTheEnd: boolean): OutputEvent[] {
    const { id: task, taskId } = this.#options.task;
    const events: OutputEvent[] = [];
    let rest: Uint8Array = Buffer.concat([this.#held[stream], ...chunks]);
    for (;;) {
      const piece = rest.subarray(0, EVENT_BYTES);
      const isLast = piece.length === rest.length;
      const bytes = isLast && atTheEnd ? piece : piece.subarray(0, piece.length - incompleteTail(piece));
      if (bytes.length > 0) {
        const offset = this.#offsets[stream];
        events.push({ type: 'task.output', taskId, task, data: { stream, offset }, bytes });
        this.#offsets[stream] += bytes.length;
      }
      rest = rest.subarray(bytes.length);
      if (isLast) break;
    }
    this.#held[stream] = rest;
    return events;
  }

  async #append(events: readonly OutputEvent[]): Promise<void> {
    try {
      await this.#options.journal.append(this.#options.session, events);
      for (const { data, bytes } of events) {
        this.#stored[data.stream] += bytes.length;
        this.#tails[data.stream].push(bytes);
      }
    } catch (error) {
      this.#fail(error);
    }
  }

  #goOn(events: readonly OutputEvent[]): void {
    for (const { bytes } of events) this.#unstoredBytes -= bytes.length;
    this.#appending = undefined;
    if (this.#waitingBytes > 0) this.#sendWhenDue();
    if (this.#unstoredBytes > MAX_UNSTORED_BYTES / 2 && !this.#failed) return;
    this.#room?.resolve();
    this.#room = undefined;
  }

  #fail(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    clearTimeout(this.#timer);
    this.#segments = [];
    this.#waitingBytes = 0;
    this.#options.onError(error);
  }
}

type OutputEvent = Extract<NewEvent, { type: 'task.output' }>;

const NOTHING = new Uint8Array();
