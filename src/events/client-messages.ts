// What a client may say on a socket, and how a bad message is answered.
import { type Static, Type } from '@sinclair/typebox';
import type { RawData, WebSocket } from 'ws';
import { ValidationFailed, type Violation } from '../errors.js';
import { findLoneSurrogates } from '../lib/lone-surrogates.js';
import { closed, NO_NUL } from '../lib/typebox.js';
import { SessionId } from '../sessions/schema.js';
import { TaskId } from '../tasks/schema.js';

const BASE64 = '^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$';

export const StdinMessage = closed(
  {
    op: Type.Literal('stdin'),
    taskId: TaskId,
    text: Type.Optional(Type.String({ description: 'Sent as UTF-8.' })),
    base64: Type.Optional(Type.String({ pattern: BASE64, description: 'Instead of text: the bytes.' })),
    close: Type.Optional(Type.Boolean({ description: 'Close the standard input afterwards.' })),
  },
  { $id: 'StdinMessage', examples: [{ op: 'stdin', taskId: 'my-task', text: 'yes\n' }] },
);

export const CancelMessage = closed(
  {
    op: Type.Literal('cancel'),
    taskId: TaskId,
    reason: Type.Optional(Type.String({ maxLength: 1024, pattern: NO_NUL })),
  },
  {
    $id: 'CancelMessage',
    description: 'The task’s `task.ended` follows when its processes are gone.',
    examples: [{ op: 'cancel', taskId: 'my-task' }],
  },
);

export const SubscribeMessage = closed(
  {
    op: Type.Literal('subscribe'),
    sessionId: Type.Optional(SessionId),
    after: Type.Optional(
      Type.Integer({ minimum: 0, description: 'The last event you have of this session. Default 0: all.' }),
    ),
    all: Type.Optional(
      Type.Literal(true, { description: 'Instead of sessionId: everything you may see, from now on.' }),
    ),
  },
  { $id: 'SubscribeMessage', examples: [{ op: 'subscribe', sessionId: 'my-session', after: 41 }] },
);

export const UnsubscribeMessage = closed(
  {
    op: Type.Literal('unsubscribe'),
    sessionId: Type.Optional(SessionId),
    all: Type.Optional(Type.Literal(true)),
  },
  { $id: 'UnsubscribeMessage', examples: [{ op: 'unsubscribe', sessionId: 'my-session' }] },
);

export const TASK_MESSAGES = [StdinMessage, CancelMessage] as const;
export type TaskMessage = Static<(typeof TASK_MESSAGES)[number]>;

export const DASHBOARD_MESSAGES = [SubscribeMessage, UnsubscribeMessage] as const;
export type DashboardMessage = Static<(typeof DASHBOARD_MESSAGES)[number]>;

/** The rules a message breaks, by its `op`. */
export type MessageChecks = Readonly<Record<string, (message: unknown) => readonly Violation[]>>;

/** The message in these bytes; throws ValidationFailed. */
export function parseMessage<M extends { op: string }>(data: string, checks: MessageChecks): M {
  let message: Partial<M> | null;
  try {
    message = JSON.parse(data);
  } catch {
    throw new ValidationFailed([{ where: '/', rule: 'must be a JSON object in a text message' }]);
  }
  const op = typeof message === 'object' && message !== null ? message.op : undefined;
  const check = typeof op === 'string' && Object.hasOwn(checks, op) ? checks[op] : undefined;
  if (!check) {
    const rule = `must be one of: ${Object.keys(checks).join(', ')}`;
    throw new ValidationFailed([{ where: '/op', given: op, rule }]);
  }
  const violations = [...findLoneSurrogates(data, message, ''), ...check(message)];
  if (violations.length > 0) throw new ValidationFailed(violations);
  return message as M;
}

export interface MessageHandler<M> {
  readonly checks: MessageChecks;
  /** Messages are handed over in order, each when the promise of the one before it has settled. */
  handle(message: M): void | Promise<void>;
  /** Bad messages and failed ones come here. */
  refuse(error: unknown): void;
  /** Too many bad messages came in a row: the socket is to be closed. */
  giveUp(): void;
}

/** From so many waiting messages, or characters of them, on the client is not read until they are handled. */
const MAX_WAITING = 16;
const MAX_WAITING_CHARS = 1024 * 1024;
/** A client that was refused so often, with nothing right between, is closed with 1008: it does not understand us. */
const MAX_REFUSED_IN_A_ROW = 50;

/** Must be called in the turn in which the socket was opened, or early messages are lost. Messages are handled one after
 *  the other, in a loop and not in a chain of promises: V8 walks all the rest of a chain for the stack of each error. */
export function handleMessages<M extends { op: string }>(
  socket: WebSocket,
  handler: MessageHandler<M>,
): void {
  const waiting: string[] = [];
  let waitingChars = 0;
  let isHandling = false;
  const isFull = () => waiting.length >= MAX_WAITING || waitingChars >= MAX_WAITING_CHARS;
  let refusedInARow = 0;

  async function handleOne(text: string): Promise<void> {
    try {
      await handler.handle(parseMessage<M>(text, handler.checks));
      refusedInARow = 0;
    } catch (error) {
      refusedInARow += 1;
      handler.refuse(error);
      // Thousands of bad ones come with one read: others get their turns between them.
      await new Promise(setImmediate);
    }
  }

  async function handleAll(): Promise<void> {
    isHandling = true;
    for (let text = waiting.shift(); text !== undefined; text = waiting.shift()) {
      waitingChars -= text.length;
      await handleOne(text);
      if (refusedInARow >= MAX_REFUSED_IN_A_ROW) {
        waiting.length = 0;
        waitingChars = 0;
        handler.giveUp();
      }
      if (!isFull() && socket.isPaused) socket.resume();
    }
    isHandling = false;
  }

  socket.on('message', (data: RawData, isBinary: boolean) => {
    if (socket.readyState !== socket.OPEN) return;
    const text = isBinary ? '' : data.toString();
    waiting.push(text);
    waitingChars += text.length;
    if (isFull()) socket.pause();
    if (!isHandling) void handleAll();
  });
}
