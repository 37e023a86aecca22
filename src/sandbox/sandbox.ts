// What the rest of the service may ask of a sandbox. A sandbox is one workspace and the walls around everything that
// runs in it; this folder knows processes, mounts and uids, and nothing of sessions, tasks or HTTP.
import type { EgressRefusal } from './egress-refusal.js';
import type { TemporarySpace } from './temporary-space.js';
import type { TreeEntry } from './tree.js';

/** How strong the walls are on this host, strongest first (`api.md`, Service). */
export const ISOLATION_LEVELS = ['full', 'oneshot', 'rootNoUserns', 'noProc', 'landlock'] as const;
export type IsolationLevel = (typeof ISOLATION_LEVELS)[number];

/** How an operator may want workspaces to be held to their size. */
export const DISK_LIMITS = ['auto', 'quota', 'image', 'watcher'] as const;
export type DiskLimitSetting = (typeof DISK_LIMITS)[number];

export interface IsolationCheck {
  readonly name: string;
  readonly ok: boolean;
  /** What was seen, in words. */
  readonly detail: string;
}

/** What was probed at start: the level reached, and where it falls short the exact fix for this kind of host. */
export interface IsolationReport {
  /** Null when not even the weakest level allowed holds: tasks are refused. */
  readonly level: IsolationLevel | null;
  readonly minimum: IsolationLevel;
  /** Levels, in the order in which they were tried; the last one is the one that holds, when one does. */
  readonly tried: readonly {
    readonly level: IsolationLevel;
    readonly ok: boolean;
    readonly detail: string;
  }[];
  /** The tools, then what was seen from inside at the level tried last. */
  readonly checks: readonly IsolationCheck[];
  /** Null when tasks are refused. */
  readonly enforced: Enforced | null;
  /** What the limits rest on. */
  readonly limits: {
    readonly cgroup: 'v2' | 'v1' | null;
    readonly memory: 'cgroup' | 'rlimit';
    readonly cpu: 'cgroup' | null;
    readonly processes: 'cgroup' | 'rlimit';
    readonly disk: 'quota' | 'image' | 'watcher';
  };
  readonly missing: readonly { readonly what: string; readonly fix: string }[];
  readonly versions: Readonly<Record<string, string>>;
}

export const NAMESPACES = ['user', 'pid', 'mnt', 'net', 'ipc', 'uts'] as const;
export type Namespace = (typeof NAMESPACES)[number];

/** Walls that stand in every sandbox. Programs have no capabilities at any level. */
export interface Enforced {
  /** Those that a sandbox does not share with the host. */
  readonly namespaces: readonly Namespace[];
  /** Those that a program does not share with others of its session. */
  readonly eachProgram: readonly Namespace[];
  readonly seccomp: boolean;
  /** Whether sessions are strangers to each other on the host, or all have the uid of the service. */
  readonly uid: 'perSession' | 'shared';
}

export interface SandboxLimits {
  readonly memoryBytes: number;
  readonly cpuPercent: number;
  readonly diskBytes: number;
  readonly maxInodes: number;
  readonly maxProcesses: number;
  readonly maxOpenFiles: number;
}

/** Hosts that may be reached, `host:port`, `*.host:port`; port `*` for any. Empty: nothing. */
export interface EgressPolicy {
  readonly allow: readonly string[];
  /** Written as in `allow`: those that may be at private addresses, because the operator configured them. */
  readonly mayBePrivate: readonly string[];
}

/** What was decided about connections that are alike. */
export interface EgressDecision {
  readonly allowed: boolean;
  /** Null for what named no host, and for many different ones together. */
  readonly host: string | null;
  readonly port: number | null;
  readonly reason: string;
  /** How many this tells of. */
  readonly count: number;
}

export interface SandboxSpec {
  /** Internal id: names the directory, the cgroup and the sockets. Never a client's string. */
  readonly id: string;
  readonly limits: SandboxLimits;
  /** Environment of every program, on top of the sandbox's own. */
  readonly env: Readonly<Record<string, string>>;
  readonly egress: EgressPolicy;
  /** Whose it is: when many are to start, owners take turns. */
  readonly owner?: string;
  /** Told of every decision about a connection, repeats together; see `egress-decisions`. */
  readonly onEgress?: (decision: EgressDecision) => void;
}

/** One that was made before anybody wanted it, and that nothing has used. */
export interface SpareSandbox {
  readonly id: string;
  /** Has the limits of `spec`, and its id, already; takes on the rest. */
  assign(spec: SandboxSpec): Sandbox;
}

/** The workspace of an earlier run is not there any more. */
export class WorkspaceGone extends Error {}

/** Where one kind of isolation is made: probes the host, makes sandboxes, finds them again after a restart. */
export interface SandboxDriver {
  start(): Promise<void>;
  /** Ends every sandbox and undoes mounts and cgroups; workspaces stay. */
  close(): Promise<void>;
  readonly isolation: IsolationReport;
  /** Makes a fresh workspace with its virtual environment. Its `uid` is to be kept with the caller's record. */
  create(spec: SandboxSpec): Promise<Sandbox>;
  /** One that stands ready with exactly these limits, the caller's own from now on; null when there is none. */
  takeSpare(limits: SandboxLimits): SpareSandbox | null;
  /** From now on some stand ready; to be called after `sweep`, which would take them for leftovers. */
  keepSpares(): void;
  /** Of all workspaces: what they hold and the host's disk does not know of yet, since it was not written. */
  unwrittenBytes(): Promise<number>;
  /** Finds the workspace of an earlier run of the service; kills what may still run in it. Rejects with WorkspaceGone only
   *  when the workspace is surely not there; after any other rejection it may be tried again. */
  attach(spec: SandboxSpec, uid: number | null): Promise<Sandbox>;
  /** Removes the workspace of an earlier run that cannot be attached, unread. */
  discard(id: string): Promise<void>;
  /** Removes workspaces, cgroups and sockets of sandboxes that are not in this list; for the start. */
  sweep(keepIds: ReadonlySet<string>): Promise<void>;
}

export type Program =
  /** Python in the warm interpreter: `code`, or a `file` of the workspace. */
  | {
      readonly kind: 'python';
      readonly code?: string;
      readonly file?: string;
      readonly args: readonly string[];
    }
  | { readonly kind: 'argv'; readonly argv: readonly string[] }
  /** Installs packages with the read-only pip, in a one-shot sandbox of its own. */
  | {
      readonly kind: 'pip';
      readonly args: readonly string[];
      /** Written to standard output behind all that pip says, before JSON of what it installed: `[[name, version], …]`. */
      readonly reportMark: string;
    };

export interface ExecRequest {
  readonly program: Program;
  readonly env: Readonly<Record<string, string>>;
  /** Below the workspace; "." is its root. */
  readonly cwd: string;
  readonly stdin: Uint8Array;
  /** Leave stdin open after `stdin` for `writeStdin`. */
  readonly stdinOpen: boolean;
  readonly memoryBytes?: number;
  /** Runs in a sandbox of its own that may reach these hosts; otherwise the sandbox's own policy holds. */
  readonly egress?: EgressPolicy;
  /** Called once, when a confined process waits for the program and nothing else is missing. Nothing of the program runs
   *  before it resolves, or at all when it rejects. */
  readonly mayStart?: () => Promise<void>;
}

/** Takes output as it comes. A returned promise holds further reading back until it settles. */
export type OutputSink = (stream: 'stdout' | 'stderr', chunk: Buffer) => void | Promise<void>;

export interface LimitReached {
  readonly peakBytes?: number;
  readonly peakFiles?: number;
  /** In place of the usual words. */
  readonly message?: string;
}

export interface ExecEnd {
  readonly how:
    | { readonly kind: 'exited'; readonly exitCode: number }
    | { readonly kind: 'signaled'; readonly signal: string }
    | { readonly kind: 'spawnFailed'; readonly code: string; readonly message: string }
    | { readonly kind: 'sandboxDied'; readonly message: string }
    | { readonly kind: 'startTimedOut'; readonly message: string }
    /** It was called off before anything of it ran. */
    | { readonly kind: 'calledOff' };
  /** A limit that the sandbox saw broken, whatever the process made of it. */
  readonly limit?: 'outOfMemory' | 'diskLimit';
  /** How far it got over that limit, as far as it is known. */
  readonly reached?: LimitReached;
  /** It found no space left, and not in its workspace: what it had beside that. */
  readonly temporarySpace?: TemporarySpace;
  /** Some of what it was refused, and why, when it ran with an `egress` of its own. */
  readonly egressRefused?: readonly EgressRefusal[];
  /** Processes that were still there and were killed, the main one included. */
  readonly processesKilled: number;
  readonly cpuMs?: number;
  readonly peakMemoryBytes?: number;
}

/** One program that runs. */
export interface Exec {
  /** Resolves, never rejects, when the whole process tree is gone and its pipes were read to the end. */
  readonly ended: Promise<ExecEnd>;
  /** Resolves when the bytes were handed over; rejects with `StdinGone` when nobody can read them any more. */
  writeStdin(chunk: Uint8Array, close: boolean): Promise<void>;
  /** SIGTERM for the main process, SIGKILL for the whole tree after `graceMs` (0: at once). May be called again to hurry. */
  end(graceMs: number): void;
}

export class StdinGone extends Error {}

/** The sandbox was not ready in time; nothing of what was wanted of it has run. */
export class SandboxStartTimedOut extends Error {
  constructor(readonly limitMs: number) {
    super(
      `The sandbox of the session did not start within ${limitMs / 1000} s (SANDBOX_START_TIMEOUT_SECONDS), and nothing of the task ran. Submit it again, later when the host is overloaded; the log of the service says how far the start came.`,
    );
  }
}

/** Nothing starts in it any more. */
export class SandboxClosed extends Error {
  constructor() {
    super('the sandbox is closed');
  }
}

/** Why something that needed a sandbox got none, for whoever asked for it: what else there is to say names places of the
 *  host, and is for the log. */
export function notStarted(error: unknown): { cause: 'startTimedOut' | 'sandboxDied'; message: string } {
  if (error instanceof SandboxStartTimedOut) return { cause: 'startTimedOut', message: error.message };
  if (error instanceof SandboxClosed) return { cause: 'sandboxDied', message: error.message };
  return {
    cause: 'sandboxDied',
    message:
      'The sandbox of the session could not be started, and nothing of the task ran. Submit it again; when it fails again, the log of the service says why.',
  };
}

export interface FileEntry {
  readonly path: string;
  readonly name: string;
  readonly type: 'file' | 'directory' | 'symlink' | 'other';
  readonly sizeBytes: number;
  /** Permission bits, octal text, e.g. `0644`. */
  readonly mode: string;
  readonly modifiedAt: string;
  /** Of a symlink. */
  readonly target?: string;
}

/** A file operation that could not be done, with a stable code and words for the caller. */
export class FileError extends Error {
  constructor(
    readonly code:
      | 'FILE_NOT_FOUND'
      | 'NOT_A_FILE'
      | 'NOT_A_DIRECTORY'
      | 'FILE_EXISTS'
      | 'DIRECTORY_NOT_EMPTY'
      | 'PATH_OUTSIDE_WORKSPACE'
      | 'PERMISSION_DENIED'
      | 'NAME_TOO_LONG'
      | 'TOO_MANY_SYMLINKS'
      | 'DISK_FULL'
      | 'FILE_TOO_LARGE'
      | 'FILE_ERROR',
    message: string,
  ) {
    super(message);
  }
}

/** Files of the workspace, touched by a confined helper inside the sandbox. Paths are relative to the workspace. */
export interface SandboxFiles {
  /** Resolves when the helper can be asked, so that an operation waits for no start. Rejects with the signal's reason, or
   *  with why there is no sandbox. */
  ready(signal: AbortSignal): Promise<void>;
  /** At most `maxBytes` from `offset`; more is a FILE_TOO_LARGE that names the size. */
  read(
    path: string,
    options: { offset?: number; length?: number; maxBytes: number },
    signal: AbortSignal,
  ): Promise<{ bytes: Buffer; sizeBytes: number }>;
  /** Atomic replace, or append. `onProgress` hears the bytes written so far. */
  write(
    path: string,
    bytes: Uint8Array,
    options: { createDirs: boolean; append: boolean; onProgress?: (bytes: number) => void },
    signal: AbortSignal,
  ): Promise<FileEntry>;
  list(
    path: string,
    options: { recursive: boolean; pattern?: string; limit: number },
    signal: AbortSignal,
  ): Promise<{ entries: FileEntry[]; totalCount: number; unreadableCount: number }>;
  stat(path: string, signal: AbortSignal): Promise<FileEntry>;
  mkdir(path: string, options: { parents: boolean }, signal: AbortSignal): Promise<FileEntry>;
  move(from: string, to: string, options: { overwrite: boolean }, signal: AbortSignal): Promise<FileEntry>;
  remove(path: string, options: { recursive: boolean }, signal: AbortSignal): Promise<FileEntry>;
}

export interface SandboxUsage {
  readonly memoryBytes?: number;
  readonly cpuMs?: number;
  readonly processes?: number;
  readonly diskBytes?: number;
  /** Files, folders and whatever else has a name in the workspace. */
  readonly inodes?: number;
}

export interface Sandbox {
  readonly id: string;
  /** The host's uid everything in it runs as; null when the service is an ordinary user and shares its own. */
  readonly uid: number | null;
  readonly files: SandboxFiles;
  /** Starts the agent now instead of with the first program. */
  warm(): Promise<void>;
  /** Where it stands among the sandboxes that are to start: 1 is next, or starts already; 0 when it need not. */
  readonly startPosition: number;
  exec(request: ExecRequest, sink: OutputSink): Exec;
  setEgress(policy: EgressPolicy): void;
  usage(): Promise<SandboxUsage>;
  /** Stops all processes so that the tree holds still; says how. */
  freeze(): Promise<'frozen' | 'stopped' | 'idle'>;
  thaw(): Promise<void>;
  /** Walks the workspace from a one-shot sandbox that sees it read-only. Names may be any bytes. */
  readTree(signal: AbortSignal): AsyncIterable<TreeEntry>;
  /** The same as a tar stream, and after its end a line of JSON: `{ leftOut: { REASON: COUNT }, changed: [PATH] }`. */
  packTree(signal: AbortSignal): AsyncIterable<Buffer>;
  /** Fills the (fresh) workspace from a one-shot sandbox. Throws FileError. */
  writeTree(entries: AsyncIterable<TreeEntry>, signal: AbortSignal): Promise<void>;
  /** Kills everything and waits until it is gone; the workspace stays. May be called twice. */
  close(): Promise<void>;
  /** Closes, deletes the workspace and frees the uid. */
  remove(): Promise<void>;
}
