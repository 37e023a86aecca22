// Looks at a tar stream of our own (`python/tar_stream.py`) while it goes by: no byte of it is changed or held back.
import { parseComment } from './archive-entry.js';
import type { SeenEntry, Survey } from './survey.js';

const BLOCK_BYTES = 512;
/** Longer than any pax header of ours: three paths of 64 KiB, each byte escaped. */
const MAX_PAX_BYTES = 1024 * 1024;
const MAX_REPORT_BYTES = 1024 * 1024;
const TYPES = { '0': 'file', '2': 'symlink', '5': 'directory' } as const;

interface Report {
  readonly leftOut: Readonly<Record<string, number>>;
  readonly changed: readonly string[];
}

export class TarSurvey {
  readonly #survey: Survey;
  /** Bytes until the next header. */
  #skip = 0;
  /** Pieces of a header, or of a pax header's body, that is not whole yet. */
  #pieces: Buffer[] = [];
  #have = 0;
  #paxBytes = 0;
  #comment: string | undefined;
  #paxSize: number | undefined;
  #emptyBlocks = 0;
  #report = '';

  constructor(survey: Survey) {
    this.#survey = survey;
  }

  /** What of the chunk belongs to the archive: all of it, but for the report at the end. */
  push(chunk: Buffer): Buffer {
    let at = 0;
    while (at < chunk.length) {
      if (this.#emptyBlocks === 2) {
        this.#report += chunk.toString('utf8', at);
        if (this.#report.length > MAX_REPORT_BYTES) throw senseless('its report is too long');
        return chunk.subarray(0, at);
      }
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, chunk.length - at);
        this.#skip -= skipped;
        at += skipped;
        continue;
      }
      const wanted = (this.#paxBytes || BLOCK_BYTES) - this.#have;
      const piece = chunk.subarray(at, at + wanted);
      at += piece.length;
      this.#pieces.push(piece);
      this.#have += piece.length;
      if (piece.length === wanted) this.#whole();
    }
    return chunk;
  }

  /** To be called at the end. Throws when it was not the end of a whole archive. */
  end(): void {
    if (this.#emptyBlocks < 2) throw senseless('it ended too early');
    const { leftOut, changed } = JSON.parse(this.#report) as Report;
    Object.assign(this.#survey.skipped, leftOut);
    this.#survey.changedWhileReading.push(...changed);
  }

  #whole(): void {
    const block = this.#pieces.length === 1 ? this.#pieces[0]! : Buffer.concat(this.#pieces, this.#have);
    this.#pieces = [];
    this.#have = 0;
    if (this.#paxBytes > 0) {
      this.#skip = padding(this.#paxBytes);
      this.#paxBytes = 0;
      this.#readPax(block);
    } else {
      this.#readHeader(block);
    }
  }

  #readHeader(block: Buffer): void {
    const type = String.fromCharCode(block[156]!);
    if (type === '\0') {
      this.#emptyBlocks += 1;
      return;
    }
    if (this.#emptyBlocks > 0) throw senseless('an entry follows its end');
    const size = this.#paxSize ?? Number.parseInt(block.toString('latin1', 124, 135), 8);
    if (type === 'x' && size > 0 && size <= MAX_PAX_BYTES) {
      this.#paxBytes = size;
      return;
    }
    const said = parseComment(this.#comment);
    if (!(type in TYPES) || !said || !Number.isSafeInteger(size)) throw senseless(`an entry of type ${type}`);
    this.#comment = undefined;
    this.#paxSize = undefined;
    this.#skip = size + padding(size);
    this.#survey.see(seen(TYPES[type as keyof typeof TYPES], said, size));
  }

  #readPax(body: Buffer): void {
    for (let at = 0; at < body.length; ) {
      const space = body.indexOf(' ', at);
      const length = Number(body.toString('latin1', at, space));
      if (space < 0 || !(length > space - at) || at + length > body.length) throw senseless('a pax header');
      const equals = body.indexOf('=', space);
      const key = body.toString('latin1', space + 1, equals);
      const value = () => body.toString('latin1', equals + 1, at + length - 1);
      if (key === 'comment') this.#comment = value();
      else if (key === 'size') this.#paxSize = Number(value());
      at += length;
    }
  }
}

function seen(
  type: 'file' | 'symlink' | 'directory',
  { path, mode, mtimeNs, target }: NonNullable<ReturnType<typeof parseComment>>,
  sizeBytes: number,
): SeenEntry {
  if (type !== 'symlink') return { type, path, mode, mtimeNs, sizeBytes };
  if (!target) throw senseless('a symlink to nowhere');
  return { type, path, mode, mtimeNs, target };
}

function padding(size: number): number {
  return (BLOCK_BYTES - (size % BLOCK_BYTES)) % BLOCK_BYTES;
}

function senseless(what: string): Error {
  return new Error(`the packed tree makes no sense: ${what}`);
}
