// What the tools that run a program share: arguments, outputs, and how its end becomes the task's ending.
import { Type } from '@sinclair/typebox';
import { NO_NUL } from '../lib/typebox.js';
import type { ExecEnd, ExecRequest, Program } from '../sandbox/sandbox.js';
import { spawnMessage } from './spawn-words.js';
import type { ToolContext, ToolResult } from './tool.js';

/** What whoever writes a program has to know, in the description of each tool that runs one. */
export const PROGRAM_RULES =
  'Each task starts with an empty /tmp; only the workspace is kept. Processes that are left behind when the main one ends are killed: what shall go on running is a task of its own with `background: true`.';

export const processArguments = {
  env: Type.Optional(
    Type.Record(
      Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]{0,127}$' }),
      Type.String({ maxLength: 32_768, pattern: NO_NUL }),
      { maxProperties: 128, description: 'Environment of this program, on top of the session’s.' },
    ),
  ),
  cwd: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 4096,
      pattern: NO_NUL,
      default: '.',
      description: 'Working directory, below the workspace.',
    }),
  ),
  stdin: Type.Optional(
    Type.String({ description: 'Text for standard input; then it is closed unless stdinOpen.' }),
  ),
  stdinOpen: Type.Optional(
    Type.Boolean({
      default: false,
      description: 'Keep standard input open for POST /v1/tasks/{taskId}/stdin.',
    }),
  ),
};

export const processOutputs = {
  stdout: Type.String({ description: 'Standard output as text, up to 1 MiB (head and tail).' }),
  stderr: Type.String({ description: 'Standard error as text, up to 1 MiB (head and tail).' }),
  stdoutBytes: Type.Integer({ minimum: 0 }),
  stderrBytes: Type.Integer({ minimum: 0 }),
  stdoutTruncated: Type.Boolean(),
  stderrTruncated: Type.Boolean(),
  exitCode: Type.Union([Type.Integer(), Type.Null()], {
    description: 'Null when the main process did not exit by itself.',
  }),
};

interface ProcessArguments {
  env?: Record<string, string>;
  cwd?: string;
  stdin?: string;
  stdinOpen?: boolean;
}

export interface ProcessOutputs {
  exitCode: number | null;
}

/** Runs the program until it and everything it started is gone; aborting the context's signal ends it. */
export async function runProcess(
  context: ToolContext,
  program: Program,
  args: ProcessArguments,
  egress?: ExecRequest['egress'],
): Promise<ToolResult<ProcessOutputs> & { end: ExecEnd }> {
  const exec = context.sandbox.exec(
    {
      program,
      env: args.env ?? {},
      cwd: args.cwd ?? '.',
      stdin: Buffer.from(args.stdin ?? ''),
      stdinOpen: args.stdinOpen ?? false,
      memoryBytes: context.memoryBytes,
      egress,
      mayStart: () => context.begin(),
    },
    (stream, chunk) => context.output(stream, chunk),
  );
  context.running(exec);
  const endProgram = () => exec.end(context.killGraceMs);
  if (context.signal.aborted) endProgram();
  else context.signal.addEventListener('abort', endProgram, { once: true });
  const end = await exec.ended;
  context.signal.removeEventListener('abort', endProgram);
  return { ...describeEnd(end), end };
}

function describeEnd(end: ExecEnd): ToolResult<ProcessOutputs> {
  const usage = { cpuMs: end.cpuMs, peakMemoryBytes: end.peakMemoryBytes };
  const outputs = { exitCode: end.how.kind === 'exited' ? end.how.exitCode : null };
  const facts = {
    ...(end.processesKilled > 0 ? { processesKilled: end.processesKilled } : {}),
    ...end.reached,
  };
  switch (end.how.kind) {
    case 'exited':
      return {
        outputs,
        usage,
        ending: { cause: end.limit ?? 'exited', exitCode: end.how.exitCode, ...facts, ...noSpace(end) },
      };
    case 'signaled':
      return {
        outputs,
        usage,
        ending: { cause: end.limit ?? 'signaled', signal: end.how.signal, ...facts, ...noSpace(end) },
      };
    case 'spawnFailed':
      return {
        outputs,
        usage,
        ending: {
          cause: 'spawnFailed',
          code: end.how.code,
          message: spawnMessage(end.how.code, end.how.message),
        },
      };
    case 'sandboxDied':
      return {
        outputs,
        usage,
        ending: {
          cause: end.limit ?? 'sandboxDied',
          ...facts,
          message: end.limit ? end.reached?.message : end.how.message,
        },
      };
    case 'startTimedOut':
      return { outputs, usage, ending: { cause: 'startTimedOut', message: end.how.message } };
    case 'calledOff':
      return { outputs, usage };
    default:
      return end.how satisfies never;
  }
}

const MIB = 1024 * 1024;

/** In words: /tmp and /dev/shm may be full while the workspace is not, and their errors look the same. */
function noSpace({ how, temporarySpace }: ExecEnd): { message?: string } {
  if (!temporarySpace) return {};
  const [tmp, shm] = [temporarySpace.tmpBytes, temporarySpace.shmBytes].map((bytes) =>
    Math.floor(bytes / MIB),
  );
  const next =
    'raise memoryMb of the session, since they grow with it, or use a folder of the workspace, e.g. as TMPDIR';
  if (how.kind !== 'exited')
    return {
      message: `The process was ended by SIGBUS, as when /dev/shm (${shm} MiB) is full or a mapped file was cut; ${next}.`,
    };
  return {
    message: `The process exited with code ${how.exitCode}. It said that no space was left, and the workspace has some: /tmp (${tmp} MiB) or /dev/shm (${shm} MiB) was full; ${next}.`,
  };
}
