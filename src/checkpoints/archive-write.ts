// Packs a tree into a plain .tar.gz. archiver makes the tar; what it is given has been walked and measured by us, since
// its own walk hangs on FIFOs and dies of files that shrink.
import { createHash } from 'node:crypto';
import { Readable, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { TarArchive } from 'archiver';
import { deferred } from '../lib/deferred.js';
import type { TreeEntry } from '../sandbox/tree.js';
import { entryHeader, type PackedEntry } from './archive-entry.js';
import { GzipBlocks } from './gzip-blocks.js';

/** Files up to this size are handed over whole, larger ones as streams. */
const WHOLE_BYTES = 256 * 1024;

export interface PackedArchive {
  readonly sizeBytes: number;
  readonly sha256: string;
  /** The last bytes the file must have, if all of it was written. */
  readonly trailer: Buffer;
}

/** Writes the archive to `file`; entries that were skipped stay out. */
export async function packTree(
  entries: AsyncIterable<TreeEntry>,
  file: Writable,
  signal: AbortSignal,
): Promise<PackedArchive> {
  const archive = new TarArchive();
  const gzip = new GzipBlocks();
  const hash = createHash('sha256');
  let sizeBytes = 0;
  const broken = deferred<never>();
  broken.promise.catch(() => {});
  // A failure leaves archiver alone, to be forgotten: destroyed in the middle of a stream it throws where nobody catches.
  archive.on('error', broken.reject);
  archive.pipe(gzip);
  const written = pipeline(
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
  written.catch(broken.reject);
  try {
    for await (const entry of entries) {
      if (entry.type !== 'skipped') await Promise.race([append(archive, entry), broken.promise]);
    }
    await Promise.race([archive.finalize(), broken.promise]);
    await written;
  } catch (error) {
    gzip.destroy();
    await written.catch(() => {});
    signal.throwIfAborted();
    throw error;
  }
  return { sizeBytes, sha256: hash.digest('hex'), trailer: gzip.trailer() };
}

/** Resolves when the entry is in the archive. */
async function append(archive: TarArchive, entry: PackedEntry): Promise<void> {
  if (entry.type === 'file' && entry.sizeBytes > WHOLE_BYTES) {
    await appendLarge(archive, entry);
    return;
  }
  const pieces: Buffer[] = [];
  if (entry.type === 'file') for await (const piece of entry.body) pieces.push(piece);
  const appended = nextEntry(archive);
  archive.append(Buffer.concat(pieces), entryHeader(entry));
  await appended;
}

async function appendLarge(archive: TarArchive, entry: PackedEntry & { type: 'file' }): Promise<void> {
  const source = Readable.from(entry.body, { objectMode: false });
  // archiver would wait for the rest of a body that failed for ever.
  const failed = new Promise<never>((_, reject) => source.once('error', reject));
  const appended = nextEntry(archive);
  archive.append(source, entryHeader(entry));
  await Promise.race([appended, failed]);
}

function nextEntry(archive: TarArchive): Promise<void> {
  return new Promise((resolve) => {
    archive.once('entry', () => resolve());
  });
}
