// What a task looks like to a client, and the one list of causes that can end it.
import { type Static, Type } from '@sinclair/typebox';
import { closed, NO_NUL, nullable, ref, stringEnum, Timestamp } from '../lib/typebox.js';
import { CLIENT_ID_PATTERN, Metadata } from '../sessions/schema.js';

export const TaskId = Type.String({
  pattern: CLIENT_ID_PATTERN,
  description: 'The task’s id: given by the service (`tsk_…`) or chosen by the client.',
  examples: ['tsk_06g4k2m8s5t7v9x1z3b5d7f9h1'],
});

export const TASK_STATUSES = ['queued', 'running', 'success', 'failure', 'timeout', 'cancelled'] as const;
export const TaskStatus = stringEnum(TASK_STATUSES, { $id: 'TaskStatus' });
export type TaskStatus = (typeof TASK_STATUSES)[number];

export const ENDING_CAUSES = [
  'exited',
  'finished',
  'signaled',
  'outOfMemory',
  'outputLimit',
  'diskLimit',
  'toolError',
  'spawnFailed',
  'sandboxDied',
  'startTimedOut',
  'interrupted',
  'timedOut',
  'cancelled',
  'sessionEnded',
] as const;
export type EndingCause = (typeof ENDING_CAUSES)[number];

export const Ending = closed(
  {
    cause: stringEnum(ENDING_CAUSES, {
      description:
        'What ended it first. `exited`: the process ended by itself; `finished`: a tool without a process did its work; `startTimedOut`: its sandbox did not start in time, so that nothing of it ran; `interrupted`: the service stopped under it.',
    }),
    exitCode: Type.Optional(
      Type.Integer({
        description:
          'Exit code of the main process, when it exited by itself; also beside another cause, e.g. after the SIGTERM of a cancel.',
      }),
    ),
    signal: Type.Optional(
      Type.String({
        description:
          'The signal that ended the main process, e.g. `SIGSEGV`; after a cancel or a limit `SIGTERM` when it heeded that, else `SIGKILL`.',
      }),
    ),
    code: Type.Optional(
      Type.String({ description: 'For `toolError` and the like: a stable code, e.g. `FILE_NOT_FOUND`.' }),
    ),
    message: Type.String({ description: 'What happened and the next step, in words.' }),
    reason: Type.Optional(Type.String({ description: 'For `cancelled`: the reason given with the cancel.' })),
    limitBytes: Type.Optional(
      Type.Integer({
        minimum: 0,
        description: 'For `outOfMemory`, `diskLimit` and `outputLimit`: the limit that was met.',
      }),
    ),
    peakBytes: Type.Optional(
      Type.Integer({ minimum: 0, description: 'The most that was seen of what is limited.' }),
    ),
    peakFiles: Type.Optional(
      Type.Integer({ minimum: 0, description: 'For `diskLimit`: files and folders in the workspace.' }),
    ),
    processesKilled: Type.Optional(
      Type.Integer({ minimum: 0, description: 'Processes that had to be killed, the main one included.' }),
    ),
    killMs: Type.Optional(
      Type.Number({
        minimum: 0,
        description: 'From the decision to end it until its whole process tree was gone.',
      }),
    ),
  },
  { $id: 'Ending', examples: [{ cause: 'exited', exitCode: 0, message: 'The process exited with code 0.' }] },
);
export type Ending = Static<typeof Ending>;

/** The status a cause leads to (`api.md`, Tasks). */
export function statusOf(
  ending: Pick<Ending, 'cause' | 'exitCode'>,
): Exclude<TaskStatus, 'queued' | 'running'> {
  switch (ending.cause) {
    case 'finished':
      return 'success';
    case 'exited':
      return ending.exitCode === 0 ? 'success' : 'failure';
    case 'signaled':
    case 'outOfMemory':
    case 'outputLimit':
    case 'diskLimit':
    case 'toolError':
    case 'spawnFailed':
    case 'sandboxDied':
    case 'startTimedOut':
    case 'interrupted':
      return 'failure';
    case 'timedOut':
      return 'timeout';
    case 'cancelled':
    case 'sessionEnded':
      return 'cancelled';
    default:
      return ending.cause satisfies never;
  }
}

export const EstimatedWaitMs = Type.Number({
  minimum: 0,
  description:
    'About how long it still waits. Computed from the turns before it, in its session and where the places of the tenant or the service are full, and the mean time of the tasks that ended lately (the newest count most). An estimate: work unlike theirs, and holds by a checkpoint, make it wrong. Absent while no task has ended since the service started.',
});

export const WaitsFor = Type.Literal('sandbox', {
  description: 'Its turn in the session has come, and its sandbox has to start first.',
});

export const Usage = closed(
  {
    cpuMs: Type.Optional(Type.Number({ minimum: 0, description: 'CPU time of all its processes.' })),
    peakMemoryBytes: Type.Optional(
      Type.Integer({
        minimum: 0,
        description: 'Largest memory: of its cgroup where there is one, else of its largest process.',
      }),
    ),
    outputBytes: Type.Integer({ minimum: 0, description: 'stdout and stderr together.' }),
  },
  { $id: 'Usage' },
);
export type Usage = Static<typeof Usage>;

export const Constraints = closed(
  {
    timeoutSeconds: Type.Optional(
      Type.Number({
        exclusiveMinimum: 0,
        description:
          'Wall clock from task.started: neither its turn nor the start of its sandbox counts. Default: the session’s; at most the operator’s maximum.',
      }),
    ),
    maxMemoryMb: Type.Optional(
      Type.Integer({ minimum: 16, description: 'Default, and at most: the session’s memoryMb.' }),
    ),
    maxOutputBytes: Type.Optional(
      Type.Integer({
        minimum: 1,
        description:
          'Output that is stored, in bytes. Default: the session’s; at most the operator’s maximum.',
      }),
    ),
    killGraceMs: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 10_000,
        description: 'From SIGTERM for the main process to SIGKILL for all. Default 250.',
      }),
    ),
  },
  { $id: 'Constraints' },
);
export type Constraints = Static<typeof Constraints>;

/** What every submission has, whatever its tool; `tools/registry` adds `tool` and `arguments`. */
export const submissionProperties = {
  taskId: Type.Optional(TaskId),
  constraints: Type.Optional(ref(Constraints)),
  background: Type.Optional(
    Type.Boolean({ default: false, description: 'Start at once and hold no place in the session’s lane.' }),
  ),
  metadata: Type.Optional(ref(Metadata)),
};

export interface TaskSubmission {
  taskId?: string;
  tool: string;
  arguments: Record<string, unknown>;
  constraints?: Constraints;
  background?: boolean;
  metadata?: Metadata;
}

export const Task = closed(
  {
    taskId: TaskId,
    sessionId: Type.String(),
    tool: Type.String(),
    arguments: Type.Record(Type.String(), Type.Unknown(), {
      description: 'As submitted; strings over 4 KiB are shown as their first 4 KiB and an ellipsis.',
    }),
    constraints: ref(Constraints),
    background: Type.Boolean(),
    metadata: ref(Metadata),
    status: ref(TaskStatus),
    ending: Type.Optional(ref(Ending)),
    outputs: Type.Optional(
      Type.Record(Type.String(), Type.Unknown(), {
        description:
          'The tool’s outputs. stdout and stderr are shown up to 1 MiB each (head and tail, with stdoutBytes and stdoutTruncated); the exact bytes are under /output/.',
      }),
    ),
    outputsRemoved: Type.Optional(
      Type.Literal(true, {
        description: 'Retention has removed what the outputs held; the rest of the record stays.',
      }),
    ),
    createdAt: Timestamp(),
    startedAt: nullable(
      Timestamp({
        description:
          'When its program, or the work of its tool, was about to begin: stored before that. Null: nothing of it has run.',
      }),
    ),
    endedAt: nullable(Timestamp()),
    queueMs: nullable(
      Type.Number({ description: 'From its acceptance to its start: its turn, and its sandbox’s start.' }),
    ),
    durationMs: nullable(Type.Number({ description: 'From start to end, on a monotonic clock.' })),
    queuePosition: Type.Optional(
      Type.Integer({
        minimum: 1,
        description:
          'While queued: 1 is next in the session; with `waitsFor`, its sandbox is the next of the service to start.',
      }),
    ),
    waitsFor: Type.Optional(WaitsFor),
    estimatedWaitMs: Type.Optional(EstimatedWaitMs),
    usage: Type.Optional(ref(Usage)),
    firstSeq: Type.Integer({ description: 'Its first event.' }),
    lastSeq: nullable(Type.Integer({ description: 'Its last event, task.ended; null until then.' })),
  },
  { $id: 'Task' },
);
export type Task = Static<typeof Task>;

export const CancelTask = closed(
  { reason: Type.Optional(Type.String({ maxLength: 1024, pattern: NO_NUL })) },
  { $id: 'CancelTask', examples: [{ reason: 'no longer needed' }] },
);
export type CancelTask = Static<typeof CancelTask>;

export const CancelResult = closed(
  {
    cancelled: Type.Boolean({ description: 'False when it had already ended of another cause.' }),
    task: ref(Task),
    processesKilled: Type.Integer({ minimum: 0 }),
    tookMs: Type.Number({ minimum: 0 }),
  },
  { $id: 'CancelResult' },
);
export type CancelResult = Static<typeof CancelResult>;
