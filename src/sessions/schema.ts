// What a session looks like to a client. The defaults and maxima of limits are the operator's (see `config`);
// the figures in these descriptions are those of an unconfigured service.
import { type Static, Type } from '@sinclair/typebox';
import { closed, NO_NUL, nullable, ref, stringEnum, Timestamp } from '../lib/typebox.js';

/** An id a client may choose: 1–128 of A–Z a–z 0–9 . _ - and the first a letter or digit. */
export const CLIENT_ID_PATTERN = '^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$';

export const SessionId = Type.String({
  pattern: CLIENT_ID_PATTERN,
  description: 'The session’s id: given by the service (`ses_…`, sortable by time) or chosen by the client.',
  examples: ['ses_06g4k2m8s5t7v9x1z3b5d7f9h1'],
});

/** Free labels of the client: kept and returned, never interpreted. */
export const MAX_LABELS = 64;

export const Metadata = Type.Record(
  Type.String({ pattern: '^[^\\u0000]{1,128}$' }),
  Type.String({ maxLength: 4096, pattern: NO_NUL }),
  {
    $id: 'Metadata',
    description: 'Labels of the client: at most 64 strings.',
    maxProperties: MAX_LABELS,
    additionalProperties: false,
    examples: [{ team: 'search' }],
  },
);
export type Metadata = Static<typeof Metadata>;

export const SESSION_STATES = [
  'creating',
  'ready',
  'active',
  'checkpointing',
  'terminating',
  'terminated',
  'failed',
] as const;
export const SessionState = stringEnum(SESSION_STATES, {
  $id: 'SessionState',
  description:
    'creating → ready ⇄ active; checkpointing while an archive is taken; terminating → terminated; failed when the workspace could not be made.',
});
export type SessionState = (typeof SESSION_STATES)[number];

/** True for a session that is over: it holds no slot, takes no work, and its events are complete. */
export function isOver(state: string): boolean {
  return state === 'terminated' || state === 'failed';
}

export const LimitsInput = closed(
  {
    memoryMb: Type.Optional(
      Type.Integer({
        minimum: 32,
        description: 'Memory of all the session’s processes, in MiB. Default 512.',
      }),
    ),
    cpuPercent: Type.Optional(
      Type.Integer({ minimum: 5, description: 'CPU, where 100 is one core. Default 100.' }),
    ),
    diskMb: Type.Optional(
      Type.Integer({ minimum: 1, description: 'Workspace size and largest file, in MiB. Default 1024.' }),
    ),
    maxProcesses: Type.Optional(
      Type.Integer({ minimum: 8, description: 'Processes and threads at once. Default 128.' }),
    ),
    timeoutSeconds: Type.Optional(
      Type.Integer({
        minimum: 1,
        description: 'Wall clock of a task that asks for nothing else. Default 60.',
      }),
    ),
    maxOutputBytes: Type.Optional(
      Type.Integer({
        minimum: 1,
        description: 'Output stored of a task that asks for nothing else, in bytes. Default 64 MiB.',
      }),
    ),
  },
  {
    $id: 'LimitsInput',
    description: 'Limits of a session. More than the operator allows is refused, never clipped.',
  },
);
export type LimitsInput = Static<typeof LimitsInput>;

export const Limits = Type.Required(LimitsInput, {
  $id: 'Limits',
  additionalProperties: false,
  description: 'The limits in force.',
});
export type Limits = Static<typeof Limits>;

export const Network = closed(
  {
    mode: stringEnum(['none', 'allowlist'], {
      description: '`none`: no network. `allowlist`: only `hosts`, through a proxy.',
    }),
    hosts: Type.Optional(
      Type.Array(
        Type.String({ minLength: 1, maxLength: 255, pattern: NO_NUL, examples: ['api.example.com:443'] }),
        {
          maxItems: 64,
          description:
            'For `allowlist`: host or host:port (443 and 80 when no port is given); `*.example.com` matches subdomains.',
        },
      ),
    ),
  },
  { $id: 'Network', examples: [{ mode: 'none' }] },
);
export type Network = Static<typeof Network>;

const Seconds = (description: string) => Type.Integer({ minimum: 1, maximum: 31_536_000, description });

export const CreateSession = closed(
  {
    sessionId: Type.Optional(SessionId),
    workspaceId: Type.Optional(
      Type.String({
        maxLength: 256,
        pattern: NO_NUL,
        description: 'A label of the client: which workspace this is.',
      }),
    ),
    userId: Type.Optional(
      Type.String({
        maxLength: 256,
        pattern: NO_NUL,
        description: 'A label of the client: for whom it works.',
      }),
    ),
    language: Type.Optional(stringEnum(['python'], { default: 'python' })),
    env: Type.Optional(
      Type.Record(
        Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]{0,127}$' }),
        Type.String({ maxLength: 32_768, pattern: NO_NUL }),
        {
          maxProperties: 128,
          additionalProperties: false,
          description: 'Environment of every task. Write-only: the record shows the names.',
          examples: [{ GREETING: 'hello' }],
        },
      ),
    ),
    metadata: Type.Optional(ref(Metadata)),
    limits: Type.Optional(ref(LimitsInput)),
    concurrency: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 16, default: 1, description: 'Tasks that run at once.' }),
    ),
    network: Type.Optional(ref(Network)),
    idleTimeoutSeconds: Type.Optional(
      nullable(Seconds('Ends the session after this long without work; null for never. Default 1800.')),
    ),
    maxLifetimeSeconds: Type.Optional(
      nullable(Seconds('Ends the session this long after its creation; null for never, the default.')),
    ),
    checkpointOnExpiry: Type.Optional(
      Type.Boolean({
        default: true,
        description: 'Take a checkpoint named `expired` before expiry ends the session.',
      }),
    ),
    checkpointId: Type.Optional(
      Type.String({ pattern: NO_NUL, description: 'Start from the workspace of this checkpoint.' }),
    ),
  },
  { $id: 'CreateSession', examples: [{ env: { GREETING: 'hello' }, limits: { memoryMb: 512 } }] },
);
export type CreateSession = Static<typeof CreateSession>;

export const PatchSession = closed(
  {
    metadata: Type.Optional(
      Type.Record(
        Type.String({ pattern: '^[^\\u0000]{1,128}$' }),
        nullable(Type.String({ maxLength: 4096, pattern: NO_NUL })),
        {
          additionalProperties: false,
          description: 'Merged into the record (RFC 7396): null removes a label.',
        },
      ),
    ),
    idleTimeoutSeconds: Type.Optional(nullable(Seconds('New idle time; null for never.'))),
    maxLifetimeSeconds: Type.Optional(
      nullable(Seconds('New lifetime, counted from creation; null for never.')),
    ),
    network: Type.Optional(ref(Network)),
  },
  { $id: 'PatchSession', minProperties: 1, examples: [{ metadata: { team: 'search', draft: null } }] },
);
export type PatchSession = Static<typeof PatchSession>;

const Count = (description: string) => Type.Optional(Type.Integer({ minimum: 0, description }));

/** What a session uses now; what cannot be known on this host is left out. */
export const usageProperties = {
  memoryBytes: Count('Memory of all its processes, without page cache that can be dropped.'),
  cpuMs: Count('CPU time since its sandbox was last started.'),
  processes: Count('Processes and threads, the sandbox’s own among them.'),
  diskBytes: Count('Size of the workspace; where a watcher holds it, as it was last seen.'),
  files: Count('Files and folders in the workspace.'),
};

export const Session = closed(
  {
    sessionId: SessionId,
    workspaceId: nullable(Type.String()),
    userId: nullable(Type.String()),
    language: stringEnum(['python']),
    state: ref(SessionState),
    stateReason: nullable(
      Type.String({
        description:
          'Why it is in this state, e.g. `deleted`, `idle`, `lifetime`; `notAttached` while a session of the last run waits for its sandbox.',
      }),
    ),
    envNames: Type.Array(Type.String(), {
      description: 'Names of the environment variables; their values are write-only.',
    }),
    metadata: ref(Metadata),
    limits: ref(Limits),
    concurrency: Type.Integer(),
    network: ref(Network),
    isolation: nullable(Type.String({ description: 'Level of isolation in force, see GET /v1/isolation.' })),
    createdAt: Timestamp(),
    lastActiveAt: Timestamp({ description: 'When it last had work; reads do not count.' }),
    endedAt: nullable(Timestamp()),
    idleTimeoutSeconds: nullable(Type.Integer()),
    maxLifetimeSeconds: nullable(Type.Integer()),
    expiresAt: nullable(
      Timestamp({
        description: 'When it will end if nothing happens; null while tasks run or when it never does.',
      }),
    ),
    expiresBecause: nullable(stringEnum(['idle', 'lifetime'])),
    checkpointOnExpiry: Type.Boolean(),
    queuedTasks: Type.Integer({ minimum: 0 }),
    runningTasks: Type.Integer({ minimum: 0 }),
    usage: Type.Optional(
      closed(usageProperties, {
        description: 'What it uses now: of one session, while it lives. Lists leave it out.',
      }),
    ),
    lastSeq: Type.Integer({ minimum: 0, description: 'Number of the newest event.' }),
    lastCheckpointId: nullable(Type.String()),
    restoredFrom: nullable(Type.String({ description: 'The checkpoint it was started from.' })),
    checkpointId: Type.Optional(
      Type.String({ description: 'Of a session that ended with a checkpoint: that checkpoint.' }),
    ),
  },
  { $id: 'Session' },
);
export type Session = Static<typeof Session>;
export type SessionUsage = NonNullable<Session['usage']>;

const Queue = (whose: string) =>
  closed(
    {
      running: Type.Integer({ minimum: 0, description: 'Tasks that run, background tasks not counted.' }),
      maxRunning: Type.Integer({ minimum: 1, description: 'More wait, and sessions take turns.' }),
      queued: Type.Integer({ minimum: 0, description: 'Tasks that were accepted and have not started.' }),
      maxQueued: Type.Integer({ minimum: 1, description: 'More are refused.' }),
    },
    { description: whose },
  );

export const Capacity = closed(
  {
    total: Type.Integer({ description: 'MAX_SESSIONS.' }),
    active: Type.Integer({ description: 'Sessions that hold a slot.' }),
    available: Type.Integer(),
    queuedTasks: Type.Integer({ description: 'Tasks waiting in the lanes of all sessions.' }),
    runningTasks: Type.Integer({ description: 'Tasks that run, background tasks included.' }),
    queues: closed({
      service: Queue('Of the whole service. When `queued` is full a submission is a 503 CAPACITY_EXCEEDED.'),
      tenant: Queue('Of the caller’s tenant. When `queued` is full a submission is a 429 TOO_MANY_TASKS.'),
    }),
    estimatedWaitMs: Type.Optional(
      Type.Number({
        minimum: 0,
        description:
          'How long the first task of an idle session would wait for a place now: 0 while one is free; absent while no task has ended since the service started. An estimate, computed as that of a task.',
      }),
    ),
  },
  {
    $id: 'Capacity',
    examples: [
      {
        total: 50,
        active: 3,
        available: 47,
        queuedTasks: 0,
        runningTasks: 1,
        queues: {
          service: { running: 1, maxRunning: 192, queued: 0, maxQueued: 5000 },
          tenant: { running: 1, maxRunning: 192, queued: 0, maxQueued: 2000 },
        },
        estimatedWaitMs: 0,
      },
    ],
  },
);
export type Capacity = Static<typeof Capacity>;
