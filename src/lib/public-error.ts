// What a public error is: a stable code, its HTTP status, and what a caller needs to go on.

export const ERROR_CODES = {
  VALIDATION_FAILED: 400,
  UNKNOWN_TOOL: 400,
  UNAUTHORIZED: 401,
  HOST_NOT_ALLOWED: 403,
  ORIGIN_NOT_ALLOWED: 403,
  TOKEN_NOT_ALLOWED: 403,
  NOT_FOUND: 404,
  SESSION_NOT_FOUND: 404,
  TASK_NOT_FOUND: 404,
  TOOL_NOT_FOUND: 404,
  CHECKPOINT_NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  REQUEST_TIMEOUT: 408,
  SESSION_ID_CONFLICT: 409,
  SESSION_BUSY: 409,
  SESSION_ENDED: 409,
  TASK_ID_CONFLICT: 409,
  TASK_NOT_RUNNING: 409,
  STDIN_CLOSED: 409,
  IDEMPOTENCY_IN_PROGRESS: 409,
  IDEMPOTENCY_OUTCOME_UNKNOWN: 409,
  OUTPUT_REMOVED: 410,
  PAYLOAD_TOO_LARGE: 413,
  URI_TOO_LONG: 414,
  UNSUPPORTED_MEDIA_TYPE: 415,
  RANGE_NOT_SATISFIABLE: 416,
  EXPECTATION_FAILED: 417,
  IDEMPOTENCY_MISMATCH: 422,
  UPGRADE_REQUIRED: 426,
  TOO_MANY_TASKS: 429,
  STDIN_FULL: 429,
  TOO_MANY_DOWNLOADS: 429,
  TOO_MANY_IDEMPOTENCY_KEYS: 429,
  HEADERS_TOO_LARGE: 431,
  INTERNAL: 500,
  CAPACITY_EXCEEDED: 503,
  ISOLATION_UNAVAILABLE: 503,
  KILL_PENDING: 503,
  SESSION_DETACHED: 503,
  SHUTTING_DOWN: 503,
  STORE_UNAVAILABLE: 503,
  OUT_OF_DISK: 507,
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

/** Whether the work asked for was begun: `notStarted` is safe to send again, `unknown` is not known to be. */
export type Outcome = 'notStarted' | 'unknown' | 'done';

/** One violated rule of a request: where it was found, what was given, and what is wanted instead. */
export interface Violation {
  /** JSON pointer below `body`, `query`, `params` or `headers`, e.g. `/body/limits/memoryMb`. */
  readonly where: string;
  readonly given?: unknown;
  readonly rule: string;
}

export interface ProblemOptions {
  readonly suggestion?: string;
  readonly retryable?: boolean;
  readonly outcome?: Outcome;
  readonly retryAfterSeconds?: number;
  readonly errors?: readonly Violation[];
  readonly cause?: unknown;
  /** Extra members for the problem document, e.g. the task that is still being killed. */
  readonly extensions?: Readonly<Record<string, unknown>>;
}

/** An error whose code, status and message may be shown to the caller. */
export class PublicError extends Error {
  readonly status: number;
  readonly suggestion: string | undefined;
  readonly retryable: boolean;
  readonly outcome: Outcome;
  readonly retryAfterSeconds: number | undefined;
  readonly errors: readonly Violation[];
  readonly extensions: Readonly<Record<string, unknown>>;

  constructor(
    readonly code: ErrorCode,
    detail: string,
    options: ProblemOptions = {},
  ) {
    super(detail, { cause: options.cause });
    this.name = new.target.name;
    this.status = ERROR_CODES[code];
    this.retryable = options.retryable ?? (this.status === 429 || this.status === 503);
    this.outcome = options.outcome ?? 'notStarted';
    this.retryAfterSeconds = options.retryAfterSeconds ?? (this.retryable ? 1 : undefined);
    this.suggestion = options.suggestion;
    this.errors = options.errors ?? [];
    this.extensions = options.extensions ?? {};
  }
}
