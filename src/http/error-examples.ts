// One real error for each code: the examples of the OpenAPI document and the table in docs/api.md are made from them.

import type { ErrorCode, PublicError } from '../errors.js';
import * as errors from '../errors.js';

const SESSION = 'ses_06g4k2m8s5t7v9x1z3b5d7f9h1';
const TASK = 'tsk_06g4k2m8s5t7v9x1z3b5d7f9h1';
const CHECKPOINT = 'ckp_06g4k2m8s5t7v9x1z3b5d7f9h1';
const KEY = '5f0c2f6e-7d0e';
const TOOLS = ['echo', 'fs.read', 'run.python'];

export const ERROR_EXAMPLES: Readonly<Record<ErrorCode, PublicError>> = {
  VALIDATION_FAILED: new errors.ValidationFailed([
    { where: '/body/limits/memoryMb', given: 8, rule: 'must be at least 32' },
  ]),
  UNKNOWN_TOOL: new errors.UnknownTool('run.pyton', TOOLS),
  UNAUTHORIZED: new errors.Unauthorized(false),
  HOST_NOT_ALLOWED: new errors.HostNotAllowed('evil.example'),
  ORIGIN_NOT_ALLOWED: new errors.OriginNotAllowed('https://evil.example'),
  TOKEN_NOT_ALLOWED: new errors.TokenNotAllowed(),
  NOT_FOUND: new errors.NotFound('/v1/sesions'),
  SESSION_NOT_FOUND: new errors.SessionNotFound(SESSION),
  TASK_NOT_FOUND: new errors.TaskNotFound(TASK),
  TOOL_NOT_FOUND: new errors.ToolNotFound('run.pyton', TOOLS),
  CHECKPOINT_NOT_FOUND: new errors.CheckpointNotFound(CHECKPOINT),
  METHOD_NOT_ALLOWED: new errors.MethodNotAllowed('PUT', '/v1/sessions', ['GET', 'POST']),
  REQUEST_TIMEOUT: new errors.RequestTimedOut(),
  SESSION_ID_CONFLICT: new errors.SessionIdConflict('my-session'),
  SESSION_BUSY: new errors.SessionBusy(SESSION, 2),
  SESSION_ENDED: new errors.SessionEnded(SESSION, 'terminated'),
  TASK_ID_CONFLICT: new errors.TaskIdConflict('my-task'),
  TASK_NOT_RUNNING: new errors.TaskNotRunning(TASK, 'queued'),
  STDIN_CLOSED: new errors.StdinClosed(TASK),
  IDEMPOTENCY_IN_PROGRESS: new errors.IdempotencyInProgress(KEY),
  IDEMPOTENCY_OUTCOME_UNKNOWN: new errors.IdempotencyOutcomeUnknown(KEY),
  OUTPUT_REMOVED: new errors.OutputRemoved(TASK, 'stdout', 65_536, 1_048_576),
  PAYLOAD_TOO_LARGE: new errors.PayloadTooLarge(8 * 1024 * 1024),
  URI_TOO_LONG: new errors.UriTooLong(16_384),
  UNSUPPORTED_MEDIA_TYPE: new errors.UnsupportedMediaType('text/plain'),
  RANGE_NOT_SATISFIABLE: new errors.RangeNotSatisfiable('bytes=900-', 512),
  EXPECTATION_FAILED: new errors.ExpectationFailed('something'),
  IDEMPOTENCY_MISMATCH: new errors.IdempotencyMismatch(KEY),
  UPGRADE_REQUIRED: new errors.UpgradeRequired('/v1/events'),
  HEADERS_TOO_LARGE: new errors.HeadersTooLarge(16_384),
  TOO_MANY_TASKS: new errors.TooManyTasks('session', 'queued', 100, 2),
  SESSION_DETACHED: new errors.SessionDetached('my-session'),
  TOO_MANY_IDEMPOTENCY_KEYS: new errors.TooManyIdempotencyKeys(5 * 1024 ** 3),
  STDIN_FULL: new errors.StdinFull(TASK, true, 1024 ** 2),
  TOO_MANY_DOWNLOADS: new errors.TooManyDownloads('my-session', 2),
  INTERNAL: new errors.InternalError(undefined),
  CAPACITY_EXCEEDED: new errors.CapacityExceeded(50),
  ISOLATION_UNAVAILABLE: new errors.IsolationUnavailable(
    'bubblewrap is not installed',
    'Install it: apt-get install bubblewrap.',
  ),
  KILL_PENDING: new errors.KillPending('Task', TASK, 5000),
  SHUTTING_DOWN: new errors.ShuttingDown(),
  STORE_UNAVAILABLE: new errors.StoreUnavailable(undefined),
  OUT_OF_DISK: new errors.OutOfDisk(undefined),
};

/** Every error code as a Markdown table, for docs/api.md. */
export function describeErrors(): string {
  const rows = Object.values(ERROR_EXAMPLES).map(
    ({ code, status, retryable, outcome, message, suggestion }) => {
      const next = suggestion === undefined ? '' : ` ${suggestion}`;
      return `| \`${code}\` | ${status} | ${retryable ? 'yes' : 'no'} | \`${outcome}\` | ${message}${next} |`;
    },
  );
  return ['| code | status | retryable | outcome | for example |', '|---|---|---|---|---|', ...rows].join(
    '\n',
  );
}
