// A workspace as a stream of entries, walked by `python/tree.py` in a sandbox that sees it read-only.
import type { OneShot, SpawnOneShot } from './oneshot.js';
import type { TreeEntry } from './tree.js';
import { ByteReader, type FrameHead, readHead } from './tree-frames.js';

/** Everything below the workspace. Leaving the loop ends the sandbox that reads. */
export async function* readTree(spawn: SpawnOneShot, signal: AbortSignal): AsyncGenerator<TreeEntry> {
  signal.throwIfAborted();
  const reader = await spawn({ script: 'tree.py', args: ['read'], workspace: 'read', overrideOwner: true });
  const stop = () => reader.kill();
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  try {
    reader.stdin.on('error', () => {}).end();
    const bytes = new ByteReader(chunksOf(reader, signal));
    for (let head = await readHead(bytes); head.kind !== 'e'; head = await readHead(bytes)) {
      const { path, mode, mtimeNs, size } = head;
      if (head.kind === 'f') yield* readFile(bytes, head);
      else if (head.kind === 'd') yield { type: 'directory', path, mode, mtimeNs };
      else if (head.kind === 'l')
        yield { type: 'symlink', path, mode, mtimeNs, target: await bytes.exactly(size) };
      else
        yield { type: 'skipped', path, mode, mtimeNs, what: (await bytes.exactly(size)).toString('latin1') };
    }
  } finally {
    signal.removeEventListener('abort', stop);
    reader.kill();
    await reader.ended;
  }
}

/** What the program sends. It never ends by itself: the end mark comes first, or something went wrong. */
async function* chunksOf(reader: OneShot, signal: AbortSignal): AsyncGenerator<Buffer> {
  let cause: unknown;
  try {
    for await (const chunk of reader.stdout) yield chunk;
  } catch (error) {
    cause = error;
  }
  signal.throwIfAborted();
  const { code, stderr } = await reader.ended;
  throw new Error(`the workspace could not be read: ${stderr.trim() || `the reader ended with ${code}`}`, {
    cause,
  });
}

async function* readFile(bytes: ByteReader, { path, mode, mtimeNs, size }: FrameHead) {
  const body = readBody();
  const entry: Extract<TreeEntry, { type: 'file' }> = {
    ...{ type: 'file', path, mode, mtimeNs, sizeBytes: size, body },
  };
  async function* readBody() {
    yield* bytes.pieces(size);
    entry.changedWhileReading = (await bytes.exactly(1))[0] !== 0;
  }
  yield entry;
  // What the consumer left of it stands between us and the next entry.
  for await (const _ of body);
}
