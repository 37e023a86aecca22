import { Type } from '@sinclair/typebox';
import { ValidationFailed } from '../errors.js';
import { closed, stringEnum } from '../lib/typebox.js';
import { defineTool } from './tool.js';
import { onFiles, WorkspacePath } from './workspace-files.js';

/** Writes a file: the old contents or the new are there, never a part. */
export const fsWrite = defineTool({
  name: 'fs.write',
  description:
    'Writes a file of the workspace. It is replaced in one step and keeps its mode; with append the contents are added to its end.',
  arguments: closed(
    {
      path: WorkspacePath('The file. A symlink at its end is followed.'),
      contents: Type.String({ description: 'What to write, in `encoding`.' }),
      encoding: Type.Optional(
        stringEnum(['utf8', 'base64'], {
          default: 'utf8',
          description: '`base64` (RFC 4648, padded) for bytes that are no text.',
        }),
      ),
      createDirs: Type.Optional(
        Type.Boolean({ default: true, description: 'Make the directories on the way that are missing.' }),
      ),
      append: Type.Optional(
        Type.Boolean({ default: false, description: 'Add to the end instead of replacing.' }),
      ),
    },
    {
      $id: 'FsWriteArguments',
      examples: [
        { path: 'data/test.txt', contents: 'test content' },
        { path: 'dot.gif', contents: 'R0lGODlhAQABAAAAACw=', encoding: 'base64' },
      ],
    },
  ),
  outputs: closed(
    { path: Type.String(), bytesWritten: Type.Integer({ minimum: 0 }) },
    { $id: 'FsWriteOutputs', examples: [{ path: 'data/test.txt', bytesWritten: 12 }] },
  ),
  check({ contents, encoding }) {
    const where = '/body/arguments/contents';
    if (encoding === 'base64') {
      if (!isBase64(contents)) {
        throw new ValidationFailed([{ where, rule: 'must be base64 (RFC 4648) with padding' }]);
      }
    } else if (/\p{Surrogate}/u.test(contents)) {
      throw new ValidationFailed([{ where, rule: 'must be well-formed Unicode: no lone surrogates' }]);
    }
  },
  async run(context, args) {
    const { path, contents, encoding = 'utf8', createDirs = true, append = false } = args;
    const bytes = Buffer.from(contents, encoding);
    await onFiles(context, (files, signal) =>
      files.write(
        path,
        bytes,
        {
          createDirs,
          append,
          onProgress(written) {
            if (written === bytes.length) return;
            context.progress({
              percentComplete: Math.floor((100 * written) / bytes.length),
              stage: 'writing',
              message: `${written} of ${bytes.length} bytes`,
            });
          },
        },
        signal,
      ),
    );
    return { outputs: { path, bytesWritten: bytes.length } };
  },
});

/** Canonical base64: exactly what encoding its bytes gives again. Only the end can be wrong in more than its alphabet,
 *  so only the end is decoded. */
function isBase64(text: string): boolean {
  const end = text.slice(-4);
  return (
    text.length % 4 === 0 &&
    !/[^A-Za-z0-9+/]/.test(text.slice(0, -4)) &&
    Buffer.from(end, 'base64').toString('base64') === end
  );
}
