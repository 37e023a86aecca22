// A tar stream on its way into a file: compressed, measured and hashed.
import { createHash } from 'node:crypto';
import type { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { GzipBlocks } from './gzip-blocks.js';

export interface PackedArchive {
  readonly sizeBytes: number;
  readonly sha256: string;
  /** The last bytes the file must have, if all of it was written. */
  readonly trailer: Buffer;
}

/** Writes `tar` to `file` as .tar.gz. */
export async function writeArchive(
  tar: AsyncIterable<Buffer>,
  file: Writable,
  signal: AbortSignal,
): Promise<PackedArchive> {
  const gzip = new GzipBlocks();
  const hash = createHash('sha256');
  let sizeBytes = 0;
  try {
    await pipeline(
      tar,
      gzip,
      async function* measure(chunks: AsyncIterable<Buffer>) {
        for await (const chunk of chunks) {
          hash.update(chunk);
          sizeBytes += chunk.length;
          yield chunk;
        }
      },
      file,
      { signal },
    );
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
  return { sizeBytes, sha256: hash.digest('hex'), trailer: gzip.trailer() };
}
