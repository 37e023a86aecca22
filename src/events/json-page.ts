// One page of events as JSON, with the very lines that the streams send.
import type { View } from './pages.js';
import type { Reader } from './reader.js';
import type { EventPage } from './schema.js';

export interface PageOptions {
  readonly reader: Reader;
  readonly view: View;
  readonly after: number;
  readonly limit: number;
  /** How long to wait for an event when there is none yet. */
  readonly waitMs: number;
  /** Ends the waiting, not the reading. */
  readonly signal: AbortSignal;
}

/** An EventPage as JSON text. */
export async function readPage({ reader, view, after, limit, waitMs, signal }: PageOptions): Promise<string> {
  const follow = waitMs > 0;
  const lastCall = follow ? AbortSignal.any([signal, AbortSignal.timeout(waitMs)]) : undefined;
  const never = new AbortController().signal;
  const page: Omit<EventPage, 'events'> = { nextAfter: after, head: 0 };
  let events: readonly string[] = [];
  let caughtUpAt: number | undefined;
  for await (const step of reader.read({ ...view, after, limit, signal: never, follow, lastCall })) {
    if (step.kind === 'gap') {
      page.gap = { from: step.from, to: step.to };
      page.nextAfter = step.to;
    } else if (step.kind === 'events') {
      events = step.json;
      page.nextAfter = step.lines.at(-1)!.seq;
      caughtUpAt = undefined;
      break;
    } else {
      caughtUpAt = step.seq;
    }
  }
  page.head = await reader.head(view);
  // Of a task the events of others lie between its own: who has them all is led past those, and told to stop.
  if (caughtUpAt !== undefined) page.head = page.nextAfter = Math.min(caughtUpAt, page.head || caughtUpAt);
  return `{"events":[${events.join(',')}],${JSON.stringify(page).slice(1)}`;
}
