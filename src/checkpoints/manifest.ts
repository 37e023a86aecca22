// What was in a checkpoint, a line for each file: enough to count what has changed by the next one.
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { Readable, Transform, type Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import { escapeBytes } from './archive-entry.js';

/** By escaped path, what the file or symlink is like. */
export type Manifest = ReadonlyMap<string, string>;

/** A manifest is held in memory, so it is bounded in bytes: a path may have 64 KiB, and hard links cost a program no
 *  room. 200,000 files with paths of a hundred bytes are some 26 MiB. */
export const MAX_MANIFEST_BYTES = 32 * 1024 * 1024;

export type ManifestEntry = {
  readonly path: Buffer;
  readonly mode: number;
  readonly mtimeNs: bigint;
} & (
  | { readonly type: 'file'; readonly sizeBytes: number }
  | { readonly type: 'symlink'; readonly target: Buffer }
);

export interface Changes {
  readonly created: number;
  readonly modified: number;
  readonly deleted: number;
}

export function manifestLine(entry: ManifestEntry): readonly [path: string, like: string] {
  const rest = entry.type === 'file' ? `f ${entry.sizeBytes}` : `l ${escapeBytes(entry.target)}`;
  return [escapeBytes(entry.path), `${entry.mode.toString(8)} ${entry.mtimeNs} ${rest}`];
}

export function changesBetween(before: Manifest, after: Manifest): Changes {
  let created = 0;
  let modified = 0;
  for (const [path, like] of after) {
    const was = before.get(path);
    if (was === undefined) created += 1;
    else if (was !== like) modified += 1;
  }
  return { created, modified, deleted: before.size - (after.size - created) };
}

export async function writeManifest(manifest: Manifest, to: Writable): Promise<void> {
  await pipeline(Readable.from(batches(manifest)), createGzip({ level: 1 }), to);
}

function* batches(manifest: Manifest): Generator<string> {
  let text = '';
  for (const [path, like] of manifest) {
    text += `${path} ${like}\n`;
    if (text.length < 65_536) continue;
    yield text;
    text = '';
  }
  yield text;
}

/** Rejects when there is more of it than may be held in memory. */
export async function readManifest(from: Readable, maxBytes = MAX_MANIFEST_BYTES): Promise<Manifest> {
  const text = createGunzip();
  let bytes = 0;
  const bounded = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      if (bytes > maxBytes) done(new Error(`a manifest has more than ${maxBytes} bytes`));
      else done(null, chunk);
    },
  });
  const piped = pipeline(from, text, bounded);
  const manifest = new Map<string, string>();
  const lines = createInterface({ input: bounded });
  lines.on('line', (line) => {
    const space = line.indexOf(' ');
    manifest.set(line.slice(0, space), line.slice(space + 1));
  });
  await Promise.all([once(lines, 'close'), piped]);
  return manifest;
}
