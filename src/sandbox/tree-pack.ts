// A workspace as a tar stream, made by `python/tree.py` in a sandbox that sees it read-only: much less work for the
// service than entries one by one, of which there may be a hundred thousand.
import type { SpawnOneShot } from './oneshot.js';

/** The tar stream and, after it, a line of JSON that says what was left out (`python/tar_stream.py`). Leaving the loop ends
 *  the sandbox that reads. */
export async function* packTree(spawn: SpawnOneShot, signal: AbortSignal): AsyncGenerator<Buffer> {
  signal.throwIfAborted();
  const packer = await spawn({ script: 'tree.py', args: ['pack'], workspace: 'read', overrideOwner: true });
  const stop = () => packer.kill();
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  try {
    packer.stdin.on('error', () => {}).end();
    for await (const chunk of packer.stdout) yield chunk;
    const { code, stderr } = await packer.ended;
    signal.throwIfAborted();
    if (code !== 0)
      throw new Error(`the workspace could not be read: ${stderr.trim() || `the reader ended with ${code}`}`);
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener('abort', stop);
    packer.kill();
    await packer.ended;
  }
}
