import { Type } from '@sinclair/typebox';
import { closed } from '../lib/typebox.js';
import { defineTool } from './tool.js';
import { entryOutputs, onFiles, WorkspacePath } from './workspace-files.js';

/** Makes a directory. */
export const fsMkdir = defineTool({
  name: 'fs.mkdir',
  description: 'Makes a directory in the workspace.',
  arguments: closed(
    {
      path: WorkspacePath('The directory.'),
      parents: Type.Optional(
        Type.Boolean({
          default: true,
          description: 'Make the directories on the way, too, and take an existing directory as made.',
        }),
      ),
    },
    { $id: 'FsMkdirArguments', examples: [{ path: 'data/raw' }] },
  ),
  outputs: entryOutputs('FsMkdirOutputs', 'The directory.'),
  async run(context, { path, parents = true }) {
    return { outputs: await onFiles(context, (files, signal) => files.mkdir(path, { parents }, signal)) };
  },
});
