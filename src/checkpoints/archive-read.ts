// Reads an archive of ours back as a tree. Its hash is compared at the end, so a tree is whole only when the last entry
// was followed by the end of the loop.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { Parser, type ReadEntry } from 'tar';
import type { TreeEntry } from '../sandbox/tree.js';
import { parseComment } from './archive-entry.js';

export interface ExpectedArchive {
  readonly sha256: string;
  /** The most that may come out of it. */
  readonly maxBytes: number;
  readonly maxEntries: number;
}

/** A pax header holds a path of up to 64 KiB several times, escaped. */
const MAX_HEADER_BYTES = 1024 * 1024;

export class ArchiveDamaged extends Error {}

export async function* unpackTree(
  file: Readable,
  expected: ExpectedArchive,
  signal: AbortSignal,
): AsyncGenerator<TreeEntry> {
  // tar takes an archive without entries for none at all.
  if (expected.maxEntries === 0) return;
  const stop = new AbortController();
  const parsing = parse(file, AbortSignal.any([signal, stop.signal]));
  let bytes = 0;
  let count = 0;
  try {
    for await (const entry of parsing.entries) {
      const found = toTreeEntry(entry);
      bytes += found.type === 'file' ? found.sizeBytes : 0;
      count += 1;
      if (bytes > expected.maxBytes || count > expected.maxEntries) {
        throw new ArchiveDamaged('the archive holds more than was put into it');
      }
      yield found;
    }
    const sha256 = await parsing.sha256;
    if (sha256 !== expected.sha256) {
      throw new ArchiveDamaged(`the archive has sha256 ${sha256}, not ${expected.sha256}`);
    }
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    stop.abort();
    await parsing.sha256.catch(() => {});
  }
}

/** Feeds the parser as entries are taken from it, one at a time. */
function parse(file: Readable, signal: AbortSignal) {
  const parser = new Parser({
    strict: true,
    maxMetaEntrySize: MAX_HEADER_BYTES,
    // A sparse file of our own compresses better than any bomb; the caps are on what comes out.
    maxDecompressionRatio: Number.POSITIVE_INFINITY,
  });
  const hash = createHash('sha256');
  const entries = entriesOf(parser);
  const fed = pipeline(
    file,
    async function* measure(chunks: AsyncIterable<Buffer>) {
      for await (const chunk of chunks) {
        hash.update(chunk);
        yield chunk;
      }
    },
    createGunzip({ chunkSize: 262_144 }),
    async (chunks: AsyncIterable<Buffer>) => {
      for await (const chunk of chunks) {
        if (!parser.write(chunk)) await once(parser, 'drain', { signal });
      }
      parser.end();
    },
    { signal },
  );
  const sha256 = fed.then(() => hash.digest('hex'));
  sha256.catch((error: unknown) => entries.fail(error));
  return { entries, sha256 };
}

/** The parser's entries as they come; it gives the next when one was read to its end. */
function entriesOf(parser: Parser) {
  const waiting: ReadEntry[] = [];
  let ended = false;
  let failure: Error | undefined;
  let newest: ReadEntry | undefined;
  let wake = () => {};
  parser.on('entry', (entry: ReadEntry) => {
    newest = entry;
    waiting.push(entry);
    wake();
  });
  parser.on('end', () => {
    ended = true;
    wake();
  });
  const fail = (error: unknown) => {
    failure ??= error instanceof Error ? error : new Error(String(error));
    // Whoever reads its body would wait for the rest for ever.
    if (newest && !newest.emittedEnd) newest.on('error', () => {}).destroy(failure);
    wake();
  };
  parser.on('error', (error: unknown) =>
    fail(new ArchiveDamaged('the archive is damaged', { cause: error })),
  );
  return {
    fail,
    async *[Symbol.asyncIterator](): AsyncGenerator<ReadEntry> {
      for (;;) {
        if (failure) throw failure;
        const entry = waiting.shift();
        if (entry) {
          yield entry;
          if (!entry.emittedEnd) {
            const end = entry.promise();
            entry.resume();
            await end;
          }
        } else if (ended) {
          return;
        } else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    },
  };
}

function toTreeEntry(entry: ReadEntry): TreeEntry {
  const said = parseComment(entry.extended?.comment);
  if (!said)
    throw new ArchiveDamaged(`the archive entry ${JSON.stringify(entry.path)} was not written by us`);
  const { path, mode, mtimeNs, target } = said;
  switch (entry.type) {
    case 'Directory':
      return { type: 'directory', path, mode, mtimeNs };
    case 'File':
      return { type: 'file', path, mode, mtimeNs, sizeBytes: entry.size, body: entry };
    case 'SymbolicLink':
      if (target) return { type: 'symlink', path, mode, mtimeNs, target };
  }
  throw new ArchiveDamaged(`the archive entry ${JSON.stringify(entry.path)} is a ${entry.type}`);
}
