import { Type } from '@sinclair/typebox';
import { closed } from '../lib/typebox.js';
import { defineTool } from './tool.js';
import { entryOutputs, onFiles, WorkspacePath } from './workspace-files.js';

/** Moves or renames an entry in one step. */
export const fsMove = defineTool({
  name: 'fs.move',
  description: 'Moves or renames a file, directory or symlink of the workspace, in one step.',
  arguments: closed(
    {
      path: WorkspacePath('What to move; a symlink is moved itself.'),
      to: WorkspacePath('Its new path, name included; the directory it goes to must exist.'),
      overwrite: Type.Optional(
        Type.Boolean({
          default: false,
          description: 'Replace a file, or an empty directory, that is at the new path.',
        }),
      ),
    },
    { $id: 'FsMoveArguments', examples: [{ path: 'draft.txt', to: 'final/report.txt' }] },
  ),
  outputs: entryOutputs('FsMoveOutputs', 'The entry at its new path.'),
  async run(context, { path, to, overwrite = false }) {
    return {
      outputs: await onFiles(context, (files, signal) => files.move(path, to, { overwrite }, signal)),
    };
  },
});
