import { Type } from '@sinclair/typebox';
import { closed, stringEnum } from '../lib/typebox.js';
import { defineTool, ToolError } from './tool.js';
import { onFiles, WorkspacePath } from './workspace-files.js';

/** Reads a file, or a range of its bytes. */
export const fsRead = defineTool({
  name: 'fs.read',
  addsNothing: true,
  description:
    'Reads a file of the workspace, or a range of its bytes: as text, or as base64 for any bytes at all.',
  arguments: closed(
    {
      path: WorkspacePath('The file.'),
      encoding: Type.Optional(
        stringEnum(['utf8', 'base64'], {
          default: 'utf8',
          description:
            '`utf8` gives text and refuses bytes that are none (NOT_UTF8); `base64` gives any bytes.',
        }),
      ),
      offset: Type.Optional(
        Type.Integer({
          minimum: 0,
          maximum: Number.MAX_SAFE_INTEGER,
          default: 0,
          description: 'First byte to read. At or beyond the end of the file nothing is read.',
        }),
      ),
      length: Type.Optional(
        Type.Integer({
          minimum: 0,
          maximum: Number.MAX_SAFE_INTEGER,
          description: 'Most bytes to read; to the end of the file when it is left out.',
        }),
      ),
    },
    {
      $id: 'FsReadArguments',
      examples: [{ path: 'data/test.txt' }, { path: 'image.png', encoding: 'base64', length: 4096 }],
    },
  ),
  outputs: closed(
    {
      path: Type.String(),
      contents: Type.String({ description: 'What was read, in the encoding asked for.' }),
      encoding: stringEnum(['utf8', 'base64']),
      sizeBytes: Type.Integer({ minimum: 0, description: 'Size of the whole file.' }),
    },
    {
      $id: 'FsReadOutputs',
      examples: [{ path: 'data/test.txt', contents: 'test content', encoding: 'utf8', sizeBytes: 12 }],
    },
  ),
  async run(context, { path, encoding = 'utf8', offset, length }) {
    const { maxInlineBytes } = context;
    const maxBytes = encoding === 'base64' ? Math.floor(maxInlineBytes / 4) * 3 : maxInlineBytes;
    const { bytes, sizeBytes } = await onFiles(context, (files, signal) =>
      files.read(path, { offset, length, maxBytes }, signal),
    );
    const contents = encoding === 'base64' ? bytes.toString('base64') : textOf(bytes, path);
    return { outputs: { path, contents, encoding, sizeBytes } };
  },
});

function textOf(bytes: Buffer, path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new ToolError(
      'NOT_UTF8',
      `What was read of ${JSON.stringify(path)} is not UTF-8; read it with "encoding": "base64", and let a range begin and end between characters.`,
      { cause },
    );
  }
}
