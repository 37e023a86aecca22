// A tool is one file: what it takes, what it gives, and what it does. `registry` lists them; `docs/adding-a-tool.md` shows how.
import type { Static, TObject, TSchema } from '@sinclair/typebox';
import type { Exec, Sandbox } from '../sandbox/sandbox.js';
import type { Ending } from '../tasks/schema.js';

export interface Progress {
  /** 0–100, or null when it cannot be known. */
  readonly percentComplete: number | null;
  readonly stage: string;
  readonly message: string;
}

/** What a running tool is given. Aborting `signal` means: end now; the executor knows why. */
export interface ToolContext {
  readonly sandbox: Sandbox;
  readonly signal: AbortSignal;
  readonly killGraceMs: number;
  readonly memoryBytes: number | undefined;
  /** Inline outputs may not be larger than this. */
  readonly maxInlineBytes: number;
  readonly settings: ToolSettings;
  /** To be awaited when all that the work needs is there, and before anything of it happens: it stores that the task has
   *  started, and from then on the task's time runs. Once is as good as twice. Rejects when the task has ended, or its
   *  start cannot be stored; then nothing may happen. A tool `inService` need not call it. */
  begin(): Promise<void>;
  progress(progress: Progress): void;
  output(stream: 'stdout' | 'stderr', chunk: Buffer): void | Promise<void>;
  /** Tells the executor which program runs, so that stdin reaches it and its end can be hurried. */
  running(exec: Exec): void;
}

/** What the operator configured for tools. */
export interface ToolSettings {
  readonly pipIndexUrl: string;
  readonly pipFileHosts: readonly string[];
}

/** How the tool's own work went; without an ending it is `finished`. stdout and stderr are never among the outputs:
 *  they were stored as they came, and the task shows them from there. */
export interface ToolResult<O> {
  readonly outputs: O;
  readonly ending?: Omit<Ending, 'message'> & { readonly message?: string };
  readonly usage?: { readonly cpuMs?: number; readonly peakMemoryBytes?: number };
}

export interface Tool<A extends TObject = TObject, O extends TSchema = TSchema> {
  readonly name: string;
  readonly description: string;
  /** Closed object; its `$id` names the OpenAPI component. */
  readonly arguments: A;
  readonly outputs: O;
  /** True when the tool needs no sandbox (`echo`). */
  readonly inService?: boolean;
  /** True when it adds nothing to the workspace: it may run while the disk is almost full. */
  readonly addsNothing?: boolean;
  /** True when stdout and stderr belong to its outputs. */
  readonly hasStreams?: boolean;
  /** The outputs beside the streams of one that did not come to its end. Without them such a task has no outputs. */
  readonly unfinishedOutputs?: Record<string, unknown>;
  /** Rules a schema cannot say, checked at submission: throw ValidationFailed. */
  check?(args: Static<A>): void;
  run(context: ToolContext, args: Static<A>): Promise<ToolResult<Partial<Static<O>>>>;
}

export function defineTool<A extends TObject, O extends TSchema>(tool: Tool<A, O>): Tool<A, O> {
  return tool;
}

/** A tool that could not do what it was asked: ends the task as `toolError` with this code and message. */
export class ToolError extends Error {
  constructor(
    readonly code: string,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

/** The sandbox that a tool needs could not be had; `cause` says why. */
export class NotStarted extends Error {
  constructor(cause: unknown) {
    super('the sandbox could not be started', { cause });
  }
}
