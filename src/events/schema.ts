// The only place an event gets its shape: journal, JSON pages, SSE, WebSocket and the documents read it from here.
import { type Static, type TProperties, Type } from '@sinclair/typebox';
import { closed, discriminated, nullable, ref, stringEnum, Timestamp } from '../lib/typebox.js';
import { SessionState, usageProperties } from '../sessions/schema.js';
import { Ending, EstimatedWaitMs, TaskStatus, Usage, WaitsFor } from '../tasks/schema.js';

const envelope = {
  seq: Type.Integer({ minimum: 1, description: 'Counts in the session without holes.' }),
  time: Timestamp(),
  sessionId: Type.String(),
};

function sessionEvent<T extends string, D extends TProperties>(type: T, $id: string, data: D) {
  return closed({ ...envelope, type: Type.Literal(type), data: closed(data) }, { $id });
}

function taskEvent<T extends string, D extends TProperties>(type: T, $id: string, data: D) {
  return closed(
    { ...envelope, taskId: Type.String(), type: Type.Literal(type), data: closed(data) },
    { $id },
  );
}

export const SessionStateEvent = sessionEvent('session.state', 'SessionStateEvent', {
  from: nullable(ref(SessionState)),
  to: ref(SessionState),
  reason: Type.String({ description: 'Why, in one word: `created`, `taskStarted`, `idle`, `deleted`, …' }),
});

export const SessionExpiringEvent = sessionEvent('session.expiring', 'SessionExpiringEvent', {
  expiresAt: Timestamp(),
  because: stringEnum(['idle', 'lifetime']),
  inSeconds: Type.Integer({ description: 'Seconds until then. Told when 60 are left, and when 10 are.' }),
});

export const SessionNetworkEvent = sessionEvent('session.network', 'SessionNetworkEvent', {
  allowed: Type.Boolean(),
  host: nullable(
    Type.String({ description: 'As the sandbox named it; null for several, and for what was no request.' }),
  ),
  port: nullable(Type.Integer()),
  reason: Type.String({ description: 'Why, in words: `in the allowlist`, `not in the allowlist`, …' }),
  count: Type.Integer({
    minimum: 1,
    description: 'How many decisions this tells of: the first comes at once, its repeats together.',
  }),
});

export const SessionUsageEvent = sessionEvent('session.usage', 'SessionUsageEvent', usageProperties);

export const TaskQueuedEvent = taskEvent('task.queued', 'TaskQueuedEvent', {
  tool: Type.String(),
  position: Type.Integer({ minimum: 0, description: 'Tasks before it in the session’s lane.' }),
  background: Type.Boolean(),
  estimatedWaitMs: Type.Optional(EstimatedWaitMs),
});

export const TaskWaitingEvent = taskEvent('task.waiting', 'TaskWaitingEvent', {
  queuePosition: Type.Integer({
    minimum: 1,
    description:
      '1 is next. Told at 1, 2, 4, 8, …, and to one task at most every 5 s. With `waitsFor`: of its sandbox among those of the service that have to start.',
  }),
  waitsFor: Type.Optional(WaitsFor),
  estimatedWaitMs: Type.Optional(EstimatedWaitMs),
});

export const TaskStartedEvent = taskEvent('task.started', 'TaskStartedEvent', {
  queueMs: Type.Number({ description: 'From its acceptance until all that it needs was there.' }),
});

export const TaskProgressEvent = taskEvent('task.progress', 'TaskProgressEvent', {
  percentComplete: nullable(
    Type.Number({ minimum: 0, maximum: 100, description: 'Null when it cannot be known.' }),
  ),
  stage: Type.String({ description: 'One word, e.g. `downloading`.' }),
  message: Type.String(),
});

export const OUTPUT_STREAMS = ['stdout', 'stderr'] as const;
export const OutputStream = stringEnum(OUTPUT_STREAMS, { $id: 'OutputStream' });
export type OutputStream = (typeof OUTPUT_STREAMS)[number];

export const TaskOutputEvent = taskEvent('task.output', 'TaskOutputEvent', {
  stream: ref(OutputStream),
  offset: Type.Integer({ minimum: 0, description: 'Where these bytes begin in the stream.' }),
  length: Type.Integer({ minimum: 1, description: 'How many bytes they are.' }),
  text: Type.String({
    description: 'The bytes as UTF-8; what is no UTF-8 is U+FFFD here and exact under /output/.',
  }),
});

export const TaskEndedEvent = taskEvent('task.ended', 'TaskEndedEvent', {
  status: ref(TaskStatus),
  ending: ref(Ending),
  outputs: Type.Optional(
    Type.Record(Type.String(), Type.Unknown(), { description: 'The tool’s outputs when they fit in 8 KiB.' }),
  ),
  outputsTruncated: Type.Boolean({ description: 'True when outputs were left out or cut: read the task.' }),
  usage: ref(Usage),
});

export const CheckpointCreatedEvent = sessionEvent('checkpoint.created', 'CheckpointCreatedEvent', {
  checkpointId: Type.String(),
  name: nullable(Type.String()),
  sizeBytes: Type.Integer(),
  sha256: Type.String(),
});

/** Every event a journal can hold, by name. */
export const EVENT_SCHEMAS = [
  SessionStateEvent,
  SessionExpiringEvent,
  SessionUsageEvent,
  SessionNetworkEvent,
  TaskQueuedEvent,
  TaskWaitingEvent,
  TaskStartedEvent,
  TaskProgressEvent,
  TaskOutputEvent,
  TaskEndedEvent,
  CheckpointCreatedEvent,
] as const;

export type Event = Static<(typeof EVENT_SCHEMAS)[number]>;
export type EventType = Event['type'];
export type EventData<T extends EventType> = Extract<Event, { type: T }>['data'];

export const EventUnion = discriminated('type', [...EVENT_SCHEMAS], { $id: 'Event' });

const dashboardSessionId = Type.Optional(Type.String({ description: 'On the dashboard socket: whose.' }));

/** Sent on SSE and WebSocket once the reader has everything there is; carries no number of its own in the journal. */
export const StreamHead = closed(
  {
    type: Type.Literal('stream.head'),
    sessionId: dashboardSessionId,
    seq: Type.Integer({ minimum: 0, description: 'The newest event’s number.' }),
  },
  { $id: 'StreamHead' },
);

/** Sent where retention has removed events, so that a missing number is never a surprise. */
export const StreamGap = closed(
  {
    type: Type.Literal('stream.gap'),
    sessionId: dashboardSessionId,
    from: Type.Integer(),
    to: Type.Integer({ description: 'Both included.' }),
  },
  { $id: 'StreamGap' },
);

export const EventPage = closed(
  {
    events: Type.Array(ref(EventUnion)),
    nextAfter: Type.Integer({ minimum: 0, description: 'Give it as `after` to go on.' }),
    head: Type.Integer({
      minimum: 0,
      description:
        'The newest event when the page was read: the session’s, or the last of a task that has ended. There is more as long as `nextAfter` is smaller.',
    }),
    gap: Type.Optional(
      closed(
        { from: Type.Integer(), to: Type.Integer() },
        { description: 'Numbers that retention has removed.' },
      ),
    ),
  },
  { $id: 'EventPage' },
);
export type EventPage = Static<typeof EventPage>;

/** An event before the journal has numbered it. */
export type NewEvent = {
  [T in EventType]: T extends 'task.output'
    ? {
        type: T;
        taskId: string;
        /** The task's internal id, under which its bytes are kept. */
        task: string;
        data: { stream: OutputStream; offset: number };
        bytes: Uint8Array;
      }
    : T extends `task.${string}`
      ? { type: T; taskId: string; data: EventData<T> }
      : { type: T; data: EventData<T> };
}[EventType];
