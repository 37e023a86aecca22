import { Type } from '@sinclair/typebox';
import { closed } from '../lib/typebox.js';
import { defineTool } from './tool.js';
import { entryOutputs, onFiles, WorkspacePath } from './workspace-files.js';

/** Removes an entry. */
export const fsRemove = defineTool({
  name: 'fs.remove',
  addsNothing: true,
  description: 'Removes a file, symlink or directory of the workspace. What a symlink points to stays.',
  arguments: closed(
    {
      path: WorkspacePath('What to remove.'),
      recursive: Type.Optional(
        Type.Boolean({ default: false, description: 'Remove a directory with all that is in it.' }),
      ),
    },
    { $id: 'FsRemoveArguments', examples: [{ path: 'data', recursive: true }] },
  ),
  outputs: entryOutputs('FsRemoveOutputs', 'The entry as it was.'),
  async run(context, { path, recursive = false }) {
    return { outputs: await onFiles(context, (files, signal) => files.remove(path, { recursive }, signal)) };
  },
});
