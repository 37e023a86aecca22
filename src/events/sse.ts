// The same stream as server-sent events: `id` is the number to resume from, and a comment now and then shows that the
// connection lives.
import { PassThrough } from 'node:stream';
import type { Line } from './line.js';
import type { ReaderStep } from './reader.js';
import { sharedBy } from './shared.js';

/** How long a browser waits before it connects again. */
const RETRY_MS = 1000;

const framesOf = sharedBy((lines: readonly Line[]) =>
  Buffer.from(lines.map(({ seq, type, json }) => `id: ${seq}\nevent: ${type}\ndata: ${json}\n\n`).join('')),
);

export interface SseOptions {
  /** Reads until the signal aborts, which it does when the client has gone. */
  read(signal: AbortSignal): AsyncIterable<ReaderStep>;
  readonly commentMs: number;
  onError(error: unknown): void;
  onEnd(): void;
}

/** A body that ends when the events do. Reads no further while the client is behind. */
export function sseStream({ read, commentMs, onError, onEnd }: SseOptions): PassThrough {
  const body = new PassThrough();
  const gone = new AbortController();
  const comments = setInterval(() => {
    if (!body.writableNeedDrain) body.write(': ping\n\n');
  }, commentMs);
  let goOn: (() => void) | undefined;
  body.on('drain', () => goOn?.());
  body.once('close', () => {
    clearInterval(comments);
    gone.abort();
    goOn?.();
    onEnd();
  });
  // The reason was told where it arose; a stream without a listener would end the process.
  body.on('error', () => {});

  const pump = async () => {
    body.write(`retry: ${RETRY_MS}\n\n`);
    for await (const step of read(gone.signal)) {
      if (body.write(frameOf(step)) || body.destroyed) continue;
      await new Promise<void>((resolve) => {
        goOn = resolve;
      });
    }
    body.end();
  };
  pump().catch((error) => {
    onError(error);
    body.destroy();
  });
  return body;
}

function frameOf(step: ReaderStep): Buffer | string {
  if (step.kind === 'events') return framesOf(step.lines);
  const { kind, ...rest } = step;
  const type = `stream.${kind}`;
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...rest })}\n\n`;
}
