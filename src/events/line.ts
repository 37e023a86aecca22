// An event as it is sent: one line of JSON, the same bytes in every transport, whether it comes from the store or has
// just been committed.
import { isOver } from '../sessions/schema.js';
import type { Event, EventType } from './schema.js';

/** An event as it is kept. */
export interface StoredEvent {
  readonly seq: number;
  readonly time: number;
  readonly taskId: string | null;
  readonly type: EventType;
  /** JSON; of an output event without its text. */
  readonly data: string;
  /** Of an output event: the bytes its text is made from. */
  readonly bytes?: Uint8Array | undefined;
}

export interface Line {
  readonly seq: number;
  readonly taskId: string | null;
  readonly type: EventType;
  readonly json: string;
  /** Set on the last event of a task, and on the last of a session. */
  readonly ends: 'task' | 'session' | undefined;
}

export function toLine(sessionId: string, event: StoredEvent): Line {
  const { seq, taskId, type } = event;
  const task = taskId === null ? '' : `"taskId":${JSON.stringify(taskId)},`;
  const json =
    `{"seq":${seq},"time":"${timestamp(event.time)}","sessionId":${JSON.stringify(sessionId)},${task}` +
    `"type":"${type}","data":${event.bytes ? withText(event.data, event.bytes) : event.data}}`;
  return { seq, taskId, type, json, ends: endOf(event) };
}

function withText(data: string, bytes: Uint8Array): string {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
  return `${data.slice(0, -1)},"text":${JSON.stringify(text)}}`;
}

function endOf({ type, data }: StoredEvent): Line['ends'] {
  if (type === 'task.ended') return 'task';
  if (type !== 'session.state') return undefined;
  return isOver((JSON.parse(data) as { to: string }).to) ? 'session' : undefined;
}

let lastTime = Number.NaN;
let lastTimestamp = '';

/** Events come in bursts of the same millisecond. */
function timestamp(time: number): string {
  if (time !== lastTime) {
    lastTime = time;
    lastTimestamp = new Date(time).toISOString();
  }
  return lastTimestamp;
}

/** Consecutive events of a view, in order. Shared by all who read them, so nothing here may change. */
export class Batch {
  readonly lines: readonly Line[];
  #json: readonly string[] | undefined;
  #events: readonly Event[] | undefined;

  constructor(lines: readonly Line[]) {
    this.lines = lines;
  }

  get firstSeq(): number {
    return this.lines[0]!.seq;
  }

  get lastSeq(): number {
    return this.lines.at(-1)!.seq;
  }

  get json(): readonly string[] {
    this.#json ??= this.lines.map(({ json }) => json);
    return this.#json;
  }

  get events(): readonly Event[] {
    this.#events ??= this.json.map((json) => JSON.parse(json) as Event);
    return this.#events;
  }

  /** What follows `seq`, of one task if so asked, at most so many; itself when that is all of it. */
  part({ after, taskId, limit }: { after: number; taskId: string | undefined; limit: number }): Batch {
    const kept = this.lines.filter(
      (line) => line.seq > after && (taskId === undefined || line.taskId === taskId),
    );
    if (kept.length === this.lines.length && kept.length <= limit) return this;
    return new Batch(kept.slice(0, limit));
  }
}
