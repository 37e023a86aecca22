// Packs entries into a .tar.gz that is read while it is made. archiver makes the tar; what it is given has been walked
// and measured by us, since its own walk hangs on FIFOs and dies of files that shrink.
import { Readable } from 'node:stream';
import type { TarArchive } from 'archiver';
import { deferred } from '../lib/deferred.js';
import type { TreeEntry } from '../sandbox/tree.js';
import { entryHeader, type PackedEntry } from './archive-entry.js';
import { GzipBlocks } from './gzip-blocks.js';

/** Files up to this size are handed over whole, larger ones as streams. */
const WHOLE_BYTES = 256 * 1024;

/** The archive; entries that were skipped stay out. It breaks off with an error when the entries do, and the entries are
 *  left when it is destroyed. */
export function packEntries(entries: AsyncIterable<TreeEntry>): Readable {
  const gzip = new GzipBlocks();
  const broken = deferred<never>();
  broken.promise.catch(() => {});
  gzip.once('close', () => broken.reject(new Error('nobody reads the archive any more')));
  const fill = async () => {
    // Loaded by the first who wants one: it would be a tenth of the service's start.
    const { TarArchive } = await import('archiver');
    const archive = new TarArchive();
    // A failure leaves archiver alone, to be forgotten: destroyed in the middle of a stream it throws where nobody catches.
    archive.on('error', broken.reject);
    archive.pipe(gzip);
    for await (const entry of entries) {
      if (entry.type !== 'skipped') await Promise.race([append(archive, entry), broken.promise]);
    }
    await Promise.race([archive.finalize(), broken.promise]);
  };
  fill().catch((error: Error) => gzip.destroy(error));
  return gzip;
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
