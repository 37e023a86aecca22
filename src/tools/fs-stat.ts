import { closed } from '../lib/typebox.js';
import { defineTool } from './tool.js';
import { entryOutputs, onFiles, WorkspacePath } from './workspace-files.js';

/** Tells what is at a path. */
export const fsStat = defineTool({
  name: 'fs.stat',
  addsNothing: true,
  description: 'Tells type, size, mode and time of one entry of the workspace; of a symlink its own.',
  arguments: closed(
    { path: WorkspacePath('The entry. A symlink is followed only with a slash at the end.') },
    { $id: 'FsStatArguments', examples: [{ path: 'data/test.txt' }] },
  ),
  outputs: entryOutputs('FsStatOutputs', 'The entry.'),
  async run(context, { path }) {
    return { outputs: await onFiles(context, (files, signal) => files.stat(path, signal)) };
  },
});
