// What the file tools share: how a path is given, how an entry is shown, and how a refusal ends the task.
import { type TProperties, Type } from '@sinclair/typebox';
import { closed, NO_NUL, stringEnum, Timestamp } from '../lib/typebox.js';
import { FileError, type SandboxFiles } from '../sandbox/sandbox.js';
import { NotStarted, type ToolContext, ToolError } from './tool.js';

export const WorkspacePath = (description: string) =>
  Type.String({
    minLength: 1,
    maxLength: 4096,
    pattern: NO_NUL,
    description: `${description} Relative to the workspace, or absolute below /workspace.`,
  });

const entryProperties = {
  path: Type.String({
    description: 'Relative to the workspace, links on the way resolved. What is no UTF-8 in it is U+FFFD.',
  }),
  name: Type.String(),
  type: stringEnum(['file', 'directory', 'symlink', 'other'], {
    description: '`other`: a FIFO, socket or device, which is never opened.',
  }),
  sizeBytes: Type.Integer({ minimum: 0 }),
  mode: Type.String({ pattern: '^[0-7]{4}$', description: 'Permission bits in octal.', examples: ['0644'] }),
  modifiedAt: Timestamp(),
  target: Type.Optional(Type.String({ description: 'Of a symlink: what it says, not resolved.' })),
} satisfies TProperties;

export const Entry = () => closed(entryProperties);

/** The outputs of a tool whose result is one entry. */
export const entryOutputs = ($id: string, description: string) =>
  closed(entryProperties, { $id, description });

/** The work of a file tool: it begins when the sandbox can be asked. A refusal ends the task as `toolError` with its code
 *  and words. */
export async function onFiles<T>(
  { sandbox, signal, begin }: ToolContext,
  work: (files: SandboxFiles, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  await sandbox.files.ready(signal).catch((error: unknown) => {
    signal.throwIfAborted();
    throw new NotStarted(error);
  });
  await begin();
  try {
    return await work(sandbox.files, signal);
  } catch (error) {
    if (error instanceof FileError) throw new ToolError(error.code, error.message, { cause: error });
    throw error;
  }
}
