// Every public error, one line each: its name, its stable code, its HTTP status and the words for the caller.
// Domains throw them by name; `http/problem` turns them into RFC 9457 problem+json.

import { clip } from './lib/clip.js';
import { type Outcome, type ProblemOptions, PublicError, type Violation } from './lib/public-error.js';

export * from './lib/public-error.js';

export class ValidationFailed extends PublicError {
  constructor(errors: readonly Violation[], options: Pick<ProblemOptions, 'suggestion'> = {}) {
    const first = errors[0];
    super('VALIDATION_FAILED', first ? `${first.where}: ${first.rule}` : 'The request is not valid.', {
      errors,
      suggestion: options.suggestion ?? 'Correct what errors[] names and send the request again.',
    });
  }
}

export class UnknownTool extends PublicError {
  constructor(tool: string, known: readonly string[]) {
    super('UNKNOWN_TOOL', `There is no tool "${tool}".`, {
      suggestion: `Use one of: ${known.join(', ')}. GET /v1/tools describes them.`,
      errors: [{ where: '/body/tool', given: tool, rule: `must be one of: ${known.join(', ')}` }],
    });
  }
}

export class SessionNotFound extends PublicError {
  constructor(sessionId: string) {
    super('SESSION_NOT_FOUND', `There is no session "${sessionId}".`, {
      suggestion:
        'List yours with GET /v1/sessions; a terminated session is forgotten after the retention time.',
    });
  }
}

export class SessionIdConflict extends PublicError {
  constructor(sessionId: string) {
    super('SESSION_ID_CONFLICT', `The session id "${sessionId}" is already in use.`, {
      suggestion: 'Choose another sessionId, or leave it out to be given one.',
    });
  }
}

export class SessionBusy extends PublicError {
  constructor(sessionId: string, running: number) {
    super('SESSION_BUSY', `Session "${sessionId}" still has ${running} queued or running task(s).`, {
      suggestion: 'Wait for them, cancel them, or repeat with ?force=true to cancel them first.',
    });
  }
}

export class SessionEnded extends PublicError {
  constructor(sessionId: string, state: string) {
    super('SESSION_ENDED', `Session "${sessionId}" is ${state} and takes no more work.`, {
      suggestion: 'Create a new session, or restore one of its checkpoints.',
    });
  }
}

export class CapacityExceeded extends PublicError {
  constructor(maxSessions: number) {
    super('CAPACITY_EXCEEDED', `capacity exceeded: all ${maxSessions} sessions are in use.`, {
      suggestion: 'Delete a session that is no longer needed, or raise MAX_SESSIONS.',
      retryAfterSeconds: 5,
    });
  }
}

export class SessionDetached extends PublicError {
  constructor(sessionId: string) {
    super(
      'SESSION_DETACHED',
      `Session "${sessionId}" is kept with its files, and could not be attached since the service started.`,
      {
        suggestion:
          'Send the request again: attaching is tried again by itself and with each request. The service’s log says what is in the way. DELETE with force=true gives the session and its files up.',
        retryAfterSeconds: 5,
      },
    );
  }
}

export class TooManyReaders extends PublicError {
  constructor(limit: number) {
    super('CAPACITY_EXCEEDED', `capacity exceeded: all ${limit} places for live readers are taken.`, {
      suggestion:
        'Read pages of JSON instead, close a reader that is no longer needed, or raise MAX_SOCKETS.',
      retryAfterSeconds: 5,
    });
  }
}

export class TooManyDownloads extends PublicError {
  constructor(sessionId: string, limit: number) {
    super('TOO_MANY_DOWNLOADS', `Session "${sessionId}" is sending ${limit} downloads already, its limit.`, {
      suggestion: 'Wait for one of them to end, or read it to its end; for many readers take a checkpoint.',
      retryAfterSeconds: 5,
    });
  }
}

export class TooManyDownloadsInAll extends PublicError {
  constructor(limit: number) {
    super('CAPACITY_EXCEEDED', `capacity exceeded: all ${limit} downloads of workspaces are taken.`, {
      suggestion: 'Try again soon, or raise MAX_DOWNLOADS.',
      retryAfterSeconds: 5,
    });
  }
}

export class TooManyUnreadReplies extends PublicError {
  constructor(limit: number, outcome: Outcome) {
    super(
      'CAPACITY_EXCEEDED',
      `capacity exceeded: replies of more than ${limit} bytes wait for clients that do not read them.`,
      {
        outcome,
        suggestion:
          'Read the replies you asked for, ask again after the time in Retry-After, or raise MAX_UNREAD_REPLY_BYTES.',
        retryAfterSeconds: 2,
      },
    );
  }
}

export class TooManyBodies extends PublicError {
  constructor(limit: number) {
    super(
      'CAPACITY_EXCEEDED',
      `capacity exceeded: the request bodies being received hold more than ${limit} bytes.`,
      {
        suggestion:
          'Send the request again after the time in Retry-After, fewer large ones at once, or raise MAX_BODY_BYTES_IN_FLIGHT.',
        retryAfterSeconds: 2,
      },
    );
  }
}

export class TooManySubscriptions extends PublicError {
  constructor(limit: number) {
    super('CAPACITY_EXCEEDED', `The socket already follows ${limit} sessions, the most it may.`, {
      suggestion: 'Unsubscribe from one, subscribe to { "all": true }, or open another socket.',
      retryable: false,
    });
  }
}

export class TaskNotFound extends PublicError {
  constructor(taskId: string) {
    super('TASK_NOT_FOUND', `There is no task "${taskId}".`, {
      suggestion: 'List a session’s tasks with GET /v1/sessions/{sessionId}/tasks.',
    });
  }
}

export class TaskIdConflict extends PublicError {
  constructor(taskId: string) {
    super('TASK_ID_CONFLICT', `The task id "${taskId}" was already used with another session or body.`, {
      suggestion: 'Use a fresh taskId for different work; repeat the same body to get the first task back.',
    });
  }
}

export class TaskNotRunning extends PublicError {
  constructor(taskId: string, status: string) {
    super('TASK_NOT_RUNNING', `Task "${taskId}" is ${status}; only a running task takes input.`, {
      suggestion: 'Send stdin after task.started, or give it in the arguments.',
    });
  }
}

export class StdinClosed extends PublicError {
  constructor(taskId: string) {
    super('STDIN_CLOSED', `The standard input of task "${taskId}" is closed.`, {
      suggestion: 'Submit run.python or run.command with "stdinOpen": true to keep it open.',
    });
  }
}

export class StdinFull extends PublicError {
  constructor(taskId: string, isOfTask: boolean, maxBytes: number) {
    const whose = isOfTask ? 'its program has not read yet' : 'programs of this service have not read yet';
    super(
      'STDIN_FULL',
      `The standard input of task "${taskId}" takes no more now: what ${whose} may be ${maxBytes} bytes.`,
      {
        suggestion: isOfTask
          ? 'Send it again when the program has read what was sent before, or cancel the task.'
          : 'Send it again later, or let the operator raise MAX_STDIN_WAITING_BYTES.',
        retryAfterSeconds: 1,
      },
    );
  }
}

export class TooManyIdempotencyKeys extends PublicError {
  constructor(maxBytes: number) {
    super(
      'TOO_MANY_IDEMPOTENCY_KEYS',
      `The Idempotency-Keys of the last 24 hours take more than ${Math.round(maxBytes / 1024 ** 2)} MiB, all they may.`,
      {
        suggestion:
          'Send the request again later, or without a key if it need not be repeated safely; a task may have a taskId instead.',
        retryAfterSeconds: 300,
      },
    );
  }
}

export class TooManyTasks extends PublicError {
  constructor(
    owner: 'session' | 'tenant',
    what: 'queued' | 'background',
    limit: number,
    retryAfterSeconds: number,
  ) {
    super('TOO_MANY_TASKS', `The ${owner} already has ${limit} ${what} tasks, the most it may have.`, {
      suggestion:
        owner === 'session' ? 'Wait for one to end, or use another session.' : 'Wait for some to end.',
      retryAfterSeconds,
    });
  }
}

export class ServiceBusy extends PublicError {
  constructor(limit: number, retryAfterSeconds: number) {
    super(
      'CAPACITY_EXCEEDED',
      `capacity exceeded: ${limit} tasks wait already, the most the service takes.`,
      {
        suggestion: 'Try again when some have ended; GET /v1/capacity shows the queues.',
        retryAfterSeconds,
      },
    );
  }
}

export class ArgumentsTooMany extends PublicError {
  constructor(bytes: number, limit: number, retryAfterSeconds: number) {
    super(
      'CAPACITY_EXCEEDED',
      `capacity exceeded: with the ${bytes} bytes of these arguments, tasks that have not ended would hold more than ${limit}.`,
      {
        suggestion: 'Try again when some have ended, or put large contents into files of the workspace.',
        retryAfterSeconds,
      },
    );
  }
}

export class ToolNotFound extends PublicError {
  constructor(tool: string, known: readonly string[]) {
    super('TOOL_NOT_FOUND', `There is no tool "${tool}".`, {
      suggestion: `Known tools: ${known.join(', ')}.`,
    });
  }
}

export class CheckpointNotFound extends PublicError {
  constructor(checkpointId: string) {
    super('CHECKPOINT_NOT_FOUND', `There is no checkpoint "${checkpointId}".`, {
      suggestion: 'List them with GET /v1/checkpoints.',
    });
  }
}

export class RangeNotSatisfiable extends PublicError {
  constructor(range: string, size: number) {
    super('RANGE_NOT_SATISFIABLE', `The range "${range}" lies outside the ${size} bytes there are.`, {
      suggestion: `Ask for bytes 0-${Math.max(0, size - 1)}, or leave the Range header out.`,
    });
  }
}

export class IsolationUnavailable extends PublicError {
  constructor(what: string, fix: string) {
    super('ISOLATION_UNAVAILABLE', `sandbox unavailable: ${what}; tasks are refused.`, {
      suggestion: fix,
      retryable: false,
    });
  }
}

export class KillPending extends PublicError {
  constructor(what: 'Task' | 'Session', id: string, waitedMs: number) {
    super(
      'KILL_PENDING',
      `${what} "${id}" was told to end, and its processes were not gone after ${waitedMs} ms.`,
      {
        suggestion: 'Its end follows when they are; watch the events or ask again.',
        outcome: 'unknown',
      },
    );
  }
}

export class ShuttingDown extends PublicError {
  constructor() {
    super('SHUTTING_DOWN', 'The service is stopping and takes no new work.', {
      suggestion: 'Send the request again in a few seconds.',
      retryAfterSeconds: 5,
    });
  }
}

export class StoreUnavailable extends PublicError {
  constructor(cause: unknown, outcome: Outcome = 'unknown') {
    super('STORE_UNAVAILABLE', 'The store cannot take writes at the moment.', {
      suggestion: 'Try again shortly; the operator finds the reason in the log.',
      outcome,
      cause,
    });
  }
}

export class OutOfDisk extends PublicError {
  constructor(cause: unknown) {
    super('OUT_OF_DISK', 'The disk of the service is full; nothing was written.', {
      suggestion: 'Delete checkpoints or sessions that are no longer needed, or give the service more space.',
      retryable: true,
      retryAfterSeconds: 10,
      cause,
    });
  }
}

export class DiskAlmostFull extends PublicError {
  constructor(freeBytes: number, floorBytes: number) {
    super(
      'OUT_OF_DISK',
      `The disk of the service has ${mib(freeBytes)} MiB left, less than the ${mib(floorBytes)} MiB that stay free (MIN_FREE_DISK_MB); nothing more is written.`,
      {
        suggestion: 'Remove files, or delete checkpoints or sessions that are no longer needed.',
        retryable: true,
        retryAfterSeconds: 10,
      },
    );
  }
}

const mib = (bytes: number) => Math.floor(bytes / 1024 / 1024);

export class StoreFull extends PublicError {
  constructor(maxBytes: number) {
    super(
      'OUT_OF_DISK',
      `The store of the service holds the ${maxBytes} bytes it may; nothing was written.`,
      {
        suggestion: 'Delete sessions that are no longer needed, or raise STORE_RETENTION_BYTES.',
        retryable: true,
        retryAfterSeconds: 10,
      },
    );
  }
}

export class OutputRemoved extends PublicError {
  constructor(
    taskId: string,
    stream: string,
    /** The first that is left; the size when none is. */
    readonly firstByte: number,
    size: number,
  ) {
    const isGone = firstByte >= size;
    const what = isGone ? `The ${size} bytes` : `The first ${firstByte} of the ${size} bytes`;
    super('OUTPUT_REMOVED', `${what} of ${stream} of task "${taskId}" were removed by retention.`, {
      suggestion: isGone
        ? 'Read output before the retention time, or keep it in a file of the workspace.'
        : `Ask for what is left with Range: bytes=${firstByte}-.`,
      extensions: { firstByte, sizeBytes: size },
    });
  }
}

export class Unauthorized extends PublicError {
  constructor(given: boolean) {
    super('UNAUTHORIZED', given ? 'This API key is not known.' : 'An API key is needed.', {
      suggestion: 'Send the header Authorization: Bearer KEY.',
    });
  }
}

export class TokenNotValid extends PublicError {
  constructor() {
    super('UNAUTHORIZED', 'This token has expired, or is not one of this service since its last start.', {
      suggestion: 'Get a new one: POST /v1/sessions/{sessionId}/tokens with an API key.',
    });
  }
}

export class TokenNotAllowed extends PublicError {
  constructor() {
    super('TOKEN_NOT_ALLOWED', 'A token opens only the events of its session, to be read.', {
      suggestion: 'Use an API key, from a server of yours and not from a page.',
    });
  }
}

export class HostNotAllowed extends PublicError {
  constructor(host: string) {
    super('HOST_NOT_ALLOWED', `The service does not answer to the name "${host}".`, {
      suggestion:
        'Use 127.0.0.1 or localhost; the operator may add names with ALLOWED_HOSTS, or set API_KEYS.',
    });
  }
}

export class OriginNotAllowed extends PublicError {
  constructor(origin: string) {
    super('ORIGIN_NOT_ALLOWED', `Web pages of "${origin}" may not call this service.`, {
      suggestion: 'The operator may add the origin to ALLOWED_ORIGINS.',
    });
  }
}

export class NotFound extends PublicError {
  /** `meant` is an address like it that there is. */
  constructor(path: string, meant?: string) {
    super('NOT_FOUND', `There is nothing at ${path}.`, {
      suggestion:
        meant === undefined
          ? 'GET /openapi.json lists every address.'
          : `Use ${meant}: an address has no empty parts and no slash at its end.`,
    });
  }
}

export class UpgradeRequired extends PublicError {
  constructor(path: string) {
    super('UPGRADE_REQUIRED', `${path} is a WebSocket, and this request asks for no upgrade.`, {
      suggestion:
        'Open it as a WebSocket (see /asyncapi.json), or read GET /v1/sessions/{sessionId}/events, as pages or as server-sent events.',
    });
  }
}

export class ExpectationFailed extends PublicError {
  constructor(given: string) {
    super('EXPECTATION_FAILED', `The expectation "${clip(given, 100)}" cannot be met.`, {
      suggestion: 'Send no Expect header, or Expect: 100-continue.',
    });
  }
}

export class UriTooLong extends PublicError {
  constructor(maxBytes: number) {
    super(
      'URI_TOO_LONG',
      `The address is too long: it and the headers may have ${maxBytes} bytes together.`,
      {
        suggestion: 'Send what is long in the body.',
      },
    );
  }
}

export class HeadersTooLarge extends PublicError {
  constructor(maxBytes: number) {
    super(
      'HEADERS_TOO_LARGE',
      `The headers are too large: they and the address may have ${maxBytes} bytes together.`,
      {
        suggestion: 'Send fewer or shorter headers; cookies are not needed here.',
      },
    );
  }
}

export class RequestTimedOut extends PublicError {
  constructor() {
    super('REQUEST_TIMEOUT', 'The request did not arrive whole in the time that it may take.', {
      retryable: true,
      suggestion: 'Send it again on a new connection, at once and whole.',
    });
  }
}

export class ContentEncodingNotTaken extends PublicError {
  constructor(given: string) {
    super('UNSUPPORTED_MEDIA_TYPE', `A body with Content-Encoding: ${clip(given, 100)} is not taken.`, {
      suggestion: 'Send the body as it is, without Content-Encoding.',
    });
  }
}

export class MethodNotAllowed extends PublicError {
  constructor(method: string, path: string, allowed: readonly string[]) {
    super('METHOD_NOT_ALLOWED', `${method} is not possible on ${path}.`, {
      suggestion: `Use ${allowed.join(' or ')}.`,
    });
  }
}

export class PayloadTooLarge extends PublicError {
  constructor(maxBytes: number) {
    super('PAYLOAD_TOO_LARGE', `The request body is larger than the ${maxBytes} bytes this call takes.`, {
      suggestion: 'Send less at once; JSON_BODY_BYTES is the operator’s limit for JSON bodies.',
    });
  }
}

export class UnsupportedMediaType extends PublicError {
  constructor(given: string) {
    super('UNSUPPORTED_MEDIA_TYPE', `This call does not take ${given || 'a body without a Content-Type'}.`, {
      suggestion: 'Send JSON with Content-Type: application/json.',
    });
  }
}

export class IdempotencyMismatch extends PublicError {
  constructor(key: string) {
    super('IDEMPOTENCY_MISMATCH', `The Idempotency-Key "${key}" was already used with another request.`, {
      suggestion: 'Use a fresh key for a different request; repeat a request with its own query and body.',
    });
  }
}

export class IdempotencyInProgress extends PublicError {
  constructor(key: string) {
    super('IDEMPOTENCY_IN_PROGRESS', `The first request with Idempotency-Key "${key}" is still running.`, {
      suggestion: 'Send it again in a moment to get its reply.',
      retryable: true,
      outcome: 'unknown',
    });
  }
}

export class IdempotencyOutcomeUnknown extends PublicError {
  constructor(key: string) {
    super(
      'IDEMPOTENCY_OUTCOME_UNKNOWN',
      `The service stopped while the first request with Idempotency-Key "${key}" was running.`,
      {
        suggestion: 'Look whether it took effect, then send it again with a fresh key if it did not.',
        outcome: 'unknown',
      },
    );
  }
}

export class InternalError extends PublicError {
  constructor(cause: unknown) {
    super('INTERNAL', 'Something went wrong inside the service.', {
      suggestion: 'The operator finds the reason in the log under this requestId.',
      outcome: 'unknown',
      cause,
    });
  }
}
