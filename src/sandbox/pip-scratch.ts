// Room for pip to unpack wheels in: a directory of the workspace, so that it counts as disk. /tmp is memory, and small.
// pip's starter (`python/pip.py`) makes it and removes it; where that is killed we do.
import { randomBytes } from 'node:crypto';
import { basename } from 'node:path';
import { FileError, type SandboxFiles } from './sandbox.js';
import { VENV } from './workspace.js';

/** As `pip.py` calls it. */
const PREFIX = '.pip-scratch-';

/** A name that no other pip has. */
export const newPipScratch = () => randomBytes(8).toString('hex');

export async function removePipScratch(
  files: SandboxFiles,
  name: string,
  signal: AbortSignal,
): Promise<void> {
  const path = `${basename(VENV)}/${PREFIX}${name}`;
  await files.remove(path, { recursive: true }, signal).catch((error: unknown) => {
    if (!(error instanceof FileError && error.code === 'FILE_NOT_FOUND')) throw error;
  });
}
