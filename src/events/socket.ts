// The WebSocket of a session's or a task's events: replay, the head, then live; stdin and cancel the other way.
import type { WebSocket } from 'ws';
import { PublicError, TaskNotFound, TokenNotAllowed, ValidationFailed } from '../errors.js';
import type { Principal } from '../lib/principal.js';
import type { Logger } from '../observability/logger.js';
import { handleMessages, type MessageChecks, type TaskMessage } from './client-messages.js';
import { CLOSE, type Connection } from './connection.js';
import type { SessionKey } from './journal.js';
import type { View } from './pages.js';
import type { Reader } from './reader.js';
import { StdinOrder } from './stdin-order.js';

/** A task by the name its client knows, and its session. */
export interface FoundTask {
  readonly taskId: string;
  readonly session: SessionKey;
}

/** What a socket may ask of tasks; each rejects with a public error when the task is not there or not the caller's. */
export interface TaskDoor {
  findTask(principal: Principal, taskId: string): Promise<FoundTask>;
  cancelTask(principal: Principal, taskId: string, reason: string | undefined): Promise<unknown>;
  /** Waits for room. */
  writeStdin(
    principal: Principal,
    taskId: string,
    write: { readonly bytes: Uint8Array; readonly close: boolean; readonly isPatient: true },
  ): Promise<void>;
}

export interface SocketContext {
  readonly socket: WebSocket;
  readonly connection: Connection;
  readonly principal: Principal;
  readonly log: Pick<Logger, 'error'>;
  readonly checks: MessageChecks;
  /** Aborts when the service stops. */
  readonly lastCall: AbortSignal;
  /** An error as its problem document; the private part goes to the log. */
  describe(error: unknown): object;
}

export interface EventSocketOptions extends SocketContext {
  readonly reader: Reader;
  readonly tasks: TaskDoor;
  readonly after: number;
  findView(): Promise<View>;
}

/** Resolves when the socket has been told its end. */
export async function serveEvents(options: EventSocketOptions): Promise<void> {
  const { socket, connection, reader, after, lastCall } = options;
  const view = options.findView();
  const stdin = new StdinOrder((error) => void refuse(options, error));
  handleMessages<TaskMessage>(socket, {
    checks: options.checks,
    handle: async (message) => obey(options, await view, message, stdin),
    refuse: (error) => void refuse(options, error),
    giveUp: () => connection.refuse(CLOSE.notAllowed),
  });
  try {
    const signal = connection.gone;
    for await (const step of reader.read({ ...(await view), after, signal, follow: true, lastCall })) {
      if (step.kind === 'events') await connection.sendLines(step.lines);
      else if (step.kind === 'head') await connection.send({ type: 'stream.head', seq: step.seq });
      else await connection.send({ type: 'stream.gap', from: step.from, to: step.to });
    }
    connection.close(lastCall.aborted ? CLOSE.stopping : CLOSE.complete);
  } catch (error) {
    closeBecause(options, error);
  }
}

/** Answers a bad message; the socket stays. */
export async function refuse({ connection, describe }: SocketContext, error: unknown): Promise<void> {
  await connection.send({ type: 'stream.error', problem: describe(error) });
}

export function closeBecause(
  { connection, log }: Pick<SocketContext, 'connection' | 'log'>,
  error: unknown,
): void {
  const status = error instanceof PublicError ? error.status : 500;
  if (status === 404) connection.close(CLOSE.notFound, (error as PublicError).code);
  else if (status === 401 || status === 403) connection.close(CLOSE.notAllowed, (error as PublicError).code);
  else {
    log.error({ err: error }, 'event socket failed');
    connection.close(CLOSE.ourFault);
  }
}

async function obey(
  options: EventSocketOptions,
  view: View,
  message: TaskMessage,
  stdin: StdinOrder,
): Promise<void> {
  const { principal, tasks } = options;
  if (principal.onlyEventsOf !== undefined) throw new TokenNotAllowed();
  const { taskId } = message;
  if (view.taskId !== undefined && taskId !== view.taskId) {
    const rule = `must be "${view.taskId}", the task of this socket`;
    throw new ValidationFailed([{ where: '/taskId', given: taskId, rule }]);
  }
  const task = await tasks.findTask(principal, taskId);
  if (task.session.id !== view.session.id) throw new TaskNotFound(taskId);
  switch (message.op) {
    case 'stdin': {
      const bytes = bytesOf(message);
      const write = { bytes, close: message.close ?? false, isPatient: true } as const;
      return stdin.add(bytes.byteLength, () => tasks.writeStdin(principal, taskId, write));
    }
    case 'cancel':
      // Not waited for: it takes until the processes are gone, and input for other tasks need not wait so long.
      tasks.cancelTask(principal, taskId, message.reason).catch((error) => refuse(options, error));
      return;
    default:
      message satisfies never;
  }
}

function bytesOf({ text, base64, close }: Extract<TaskMessage, { op: 'stdin' }>): Uint8Array {
  const given = [text, base64].filter((each) => each !== undefined).length;
  if (given > 1 || (given === 0 && !close)) {
    throw new ValidationFailed([{ where: '/', rule: 'must have one of text and base64, or close' }]);
  }
  return base64 === undefined ? Buffer.from(text ?? '') : Buffer.from(base64, 'base64');
}
