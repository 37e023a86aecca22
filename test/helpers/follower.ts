// A reader that keeps at it, over any transport: it notes every event as it was sent and, when it is cut or the service
// is gone, comes back with its cursor.
import { on, once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';

export const TRANSPORTS = ['socket', 'sse', 'pages', 'dashboard'] as const;
export type Transport = (typeof TRANSPORTS)[number];

export interface FollowerOptions {
  readonly transport: Transport;
  readonly sessionId: string;
  /** Where the service is now; undefined while it is not. */
  readonly url: () => string | undefined;
  /** Asked after each event: true goes away and comes back. */
  readonly isTired?: () => boolean;
}

/** One connection: events as they were sent, until it ends. */
type Visit = (url: string, sessionId: string, after: number, signal: AbortSignal) => AsyncGenerator<string>;

export class Follower {
  readonly transport: Transport;
  readonly sessionId: string;
  /** The JSON of each event. */
  readonly lines: string[] = [];
  /** Connections that gave something. */
  visits = 0;
  /** Resolves when the session is over and everything was read, or the reader was stopped. */
  readonly finished: Promise<void>;
  readonly #options: FollowerOptions;
  readonly #stop = new AbortController();
  #after = 0;
  #isComplete = false;

  constructor(options: FollowerOptions) {
    this.#options = options;
    this.transport = options.transport;
    this.sessionId = options.sessionId;
    this.finished = this.#keepReading();
  }

  /** The newest event it has. */
  get after(): number {
    return this.#after;
  }

  stop(): Promise<void> {
    this.#stop.abort();
    return this.finished;
  }

  async #keepReading(): Promise<void> {
    const { url, sessionId, isTired = () => false } = this.#options;
    const visit = VISITS[this.transport];
    while (!this.#isComplete && !this.#stop.signal.aborted) {
      const base = url();
      const before = this.#after;
      const leaving = new AbortController();
      const signal = AbortSignal.any([leaving.signal, this.#stop.signal]);
      try {
        if (base) {
          for await (const line of visit(base, sessionId, this.#after, signal)) {
            this.#take(line);
            if (this.#isComplete || isTired()) break;
          }
        }
      } catch {
        // Cut, refused, or the service is gone: it comes back.
      }
      leaving.abort();
      if (this.#after > before) this.visits += 1;
      else await sleep(20);
    }
  }

  #take(line: string): void {
    const { seq, type, data } = JSON.parse(line) as { seq: number; type: string; data: { to?: string } };
    this.#after = seq;
    this.lines.push(line);
    this.#isComplete = type === 'session.state' && (data.to === 'terminated' || data.to === 'failed');
  }
}

const VISITS: Record<Transport, Visit> = {
  async *socket(url, sessionId, after, signal) {
    yield* messages(`ws${url.slice(4)}/v1/sessions/${sessionId}/events?after=${after}`, signal);
  },
  async *dashboard(url, sessionId, after, signal) {
    yield* messages(`ws${url.slice(4)}/v1/events`, signal, { op: 'subscribe', sessionId, after });
  },
  async *sse(url, sessionId, after, signal) {
    const headers = { accept: 'text/event-stream', 'last-event-id': String(after) };
    const response = await fetch(`${url}/v1/sessions/${sessionId}/events`, { headers, signal });
    if (response.status !== 200) throw new Error(`answered ${response.status}`);
    let rest = '';
    for await (const text of response.body!.pipeThrough(new TextDecoderStream())) {
      const blocks = (rest + text).split('\n\n');
      rest = blocks.pop()!;
      for (const block of blocks) {
        const [id, , data] = block.split('\n');
        if (id?.startsWith('id: ')) yield data!.slice('data: '.length);
      }
    }
  },
  async *pages(url, sessionId, after, signal) {
    for (let next = after; ; ) {
      const query = `after=${next}&limit=100&wait=2`;
      const response = await fetch(`${url}/v1/sessions/${sessionId}/events?${query}`, { signal });
      const text = await response.text();
      const page = JSON.parse(text) as { events: { seq: number }[] };
      const lines = page.events.map((event) => JSON.stringify(event));
      if (!text.startsWith(`{"events":[${lines.join(',')}],`))
        throw new Error(`not as it was written: ${text}`);
      yield* lines;
      next = page.events.at(-1)?.seq ?? next;
    }
  },
};

async function* messages(url: string, signal: AbortSignal, hello?: object): AsyncGenerator<string> {
  const socket = new WebSocket(url);
  socket.on('error', () => {});
  const incoming = on(socket, 'message', { signal, close: ['close'] } as never);
  try {
    if (hello) {
      await once(socket, 'open', { signal });
      socket.send(JSON.stringify(hello));
    }
    for await (const [data] of incoming) {
      const message = String(data);
      if (message.startsWith('{"seq":')) yield message;
      if (message.startsWith('{"type":"stream.error"')) throw new Error(message);
    }
  } finally {
    socket.terminate();
  }
}
