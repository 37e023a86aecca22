import { Type } from '@sinclair/typebox';
import { closed, NO_NUL } from '../lib/typebox.js';
import { defineTool, ToolError } from './tool.js';
import { Entry, onFiles, WorkspacePath } from './workspace-files.js';

/** Lists a directory, or everything below it. */
export const fsList = defineTool({
  name: 'fs.list',
  addsNothing: true,
  description:
    'Lists a directory of the workspace, sorted by name, each directory followed by what is in it. Symlinks are shown, not followed.',
  arguments: closed(
    {
      path: Type.Optional(WorkspacePath('The directory. Default: the workspace itself.')),
      recursive: Type.Optional(Type.Boolean({ default: false, description: 'Everything below it, too.' })),
      pattern: Type.Optional(
        Type.String({
          minLength: 1,
          maxLength: 1024,
          pattern: NO_NUL,
          description:
            'Show only what matches: `*` any characters of one name, `?` one, `[abc]`, `[a-z]`, `[!a]` one of these, `**` as a whole name any number of names. With a slash it is matched against the path below the listed directory, else against the name. Dot files match like others.',
          examples: ['*.py', 'src/**/*.txt'],
        }),
      ),
      limit: Type.Optional(
        Type.Integer({
          minimum: 1,
          maximum: 100_000,
          default: 1000,
          description: 'Most entries to show; totalCount says how many there are.',
        }),
      ),
    },
    { $id: 'FsListArguments', examples: [{ path: 'data' }, { recursive: true, pattern: '*.py' }] },
  ),
  outputs: closed(
    {
      entries: Type.Array(Entry()),
      totalCount: Type.Integer({
        minimum: 0,
        description: 'Entries that matched, those not shown included.',
      }),
      unreadableCount: Type.Integer({
        minimum: 0,
        description: 'Directories below whose contents could not be listed because of their permissions.',
      }),
    },
    { $id: 'FsListOutputs' },
  ),
  async run(context, args) {
    const { path = '.', recursive = false, pattern, limit = 1000 } = args;
    const outputs = await onFiles(context, (files, signal) =>
      files.list(path, { recursive, pattern, limit }, signal),
    );
    const { maxInlineBytes } = context;
    const sizeBytes = Buffer.byteLength(JSON.stringify(outputs));
    if (sizeBytes > maxInlineBytes) {
      throw new ToolError(
        'FILE_TOO_LARGE',
        `The listing of ${outputs.entries.length} entries has ${sizeBytes} bytes, and ${maxInlineBytes} can be given at once; use a smaller limit, a pattern, or a directory further down.`,
      );
    }
    return { outputs };
  },
});
