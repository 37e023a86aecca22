// Small clients of the three transports, which note what they are sent.
import { request } from 'node:http';
import type { Test } from 'tap';
import { WebSocket } from 'ws';
import { checkMessage } from './check-sent.js';

/** Resolves as soon as `condition` gives something. */
export async function until<T>(
  condition: () => T | undefined | false | Promise<T | undefined | false>,
): Promise<T> {
  for (;;) {
    const value = await condition();
    if (value) return value;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

export interface SocketClient {
  readonly socket: WebSocket;
  /** Every message, as it came. */
  readonly messages: string[];
  /** The messages that are events of the journal. */
  events(): string[];
  /** The first message of this type. */
  message(type: string): Promise<Record<string, unknown>>;
  send(message: unknown): void;
  readonly closed: Promise<number>;
}

export function openSocket(t: Test, url: string, headers: Record<string, string> = {}): SocketClient {
  const socket = new WebSocket(url, { headers });
  t.teardown(() => socket.terminate());
  const messages: string[] = [];
  const early: string[] = [];
  socket.on('message', (data) => {
    checkMessage(JSON.parse(data.toString()));
    messages.push(data.toString());
  });
  socket.on('error', () => {});
  socket.on('open', () => {
    for (const message of early) socket.send(message);
  });
  return {
    socket,
    messages,
    events: () => messages.filter((message) => message.startsWith('{"seq":')),
    message: (type) =>
      until(() => messages.map((message) => JSON.parse(message)).find((message) => message.type === type)),
    send(message) {
      const text = typeof message === 'string' ? message : JSON.stringify(message);
      if (socket.readyState === socket.OPEN) socket.send(text);
      else early.push(text);
    },
    closed: new Promise((resolve) => socket.on('close', resolve)),
  };
}

export interface SseMessage {
  readonly id: string | undefined;
  readonly event: string | undefined;
  readonly data: string;
}

export interface SseClient {
  readonly messages: SseMessage[];
  readonly comments: string[];
  readonly headers: Promise<{ status: number; headers: NodeJS.Dict<string | string[]> }>;
  events(): string[];
  cut(): void;
  /** True when the service ended it, false when it was cut. */
  readonly ended: Promise<boolean>;
}

export function openSse(t: Test, url: string, headers: Record<string, string> = {}): SseClient {
  const messages: SseMessage[] = [];
  const comments: string[] = [];
  const outgoing = request(url, { headers: { accept: 'text/event-stream', ...headers }, agent: false });
  t.teardown(() => outgoing.destroy());
  let rest = '';
  const take = (block: string) => {
    const lines = block.split('\n');
    const field = (name: string) =>
      lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
    if (block.startsWith(':')) comments.push(block);
    const data = field('data');
    if (data !== undefined) checkMessage(JSON.parse(data));
    if (data !== undefined) messages.push({ id: field('id'), event: field('event'), data });
  };
  const answered = new Promise<{ status: number; headers: NodeJS.Dict<string | string[]> }>((resolve) => {
    outgoing.on('response', (response) =>
      resolve({ status: response.statusCode!, headers: response.headers }),
    );
  });
  const ended = new Promise<boolean>((resolve) => {
    outgoing.on('error', () => resolve(false));
    outgoing.on('response', (response) => {
      response.setEncoding('utf8');
      response.on('data', (text: string) => {
        const blocks = (rest + text).split('\n\n');
        rest = blocks.pop()!;
        blocks.forEach(take);
      });
      response.on('error', () => {});
      response.on('close', () => resolve(response.complete));
    });
  });
  outgoing.end();
  return {
    messages,
    comments,
    headers: answered,
    events: () => messages.filter(({ id }) => id !== undefined).map(({ data }) => data),
    cut: () => outgoing.destroy(),
    ended,
  };
}
