// How an entry stands in an archive. Any tar program reads the usual fields; but they cannot say everything (names that
// are no UTF-8, mode 0000, nanoseconds before 1970 in some), so each entry also carries a pax `comment`, which programs
// pass over: `codegen-worker MODE MTIME_NS PATH [TARGET]`, bytes beyond the harmless ones as %XX.
import { isUtf8 } from 'node:buffer';
import type { EntryData } from 'archiver';
import type { TreeEntry } from '../sandbox/tree.js';

export type PackedEntry = Exclude<TreeEntry, { type: 'skipped' }>;

const MARK = 'codegen-worker';
const COMMENT = new RegExp(`^${MARK} ([0-7]{1,4}) (-?\\d{1,28}) ([!-~]+)(?: ([!-~]+))?$`);
const NANOSECONDS = 1_000_000_000n;
/** archiver takes a drive letter, a backslash or a slash in front for something else than a name. */
const ARCHIVER_CHANGES = /\\|^\w+:|^\//;

/** The header archiver is given; `comment` and `path` go into the pax header as they are. */
export function entryHeader(entry: PackedEntry): EntryData {
  const { type, path, mode, mtimeNs } = entry;
  const name = shown(path);
  const pax: Record<string, string> = {
    ...(ARCHIVER_CHANGES.test(name) ? { path: name } : {}),
    mtime: decimalSeconds(mtimeNs),
    comment: commentOf(entry),
  };
  const header = {
    name: pax.path === undefined ? name : 'entry',
    type,
    mode,
    date: headerDate(mtimeNs),
    ...(entry.type === 'symlink' ? { linkname: shown(entry.target) } : {}),
    ...(entry.type === 'file' ? { stats: { size: entry.sizeBytes } } : {}),
    pax,
  };
  return header as unknown as EntryData;
}

/** What `entryHeader` was made of. Undefined for a comment that is none of ours. */
export function parseComment(
  comment: string | undefined,
): { mode: number; mtimeNs: bigint; path: Buffer; target: Buffer | undefined } | undefined {
  const match = COMMENT.exec(comment ?? '');
  if (!match) return undefined;
  const [, mode, mtimeNs, path, target] = match;
  return {
    mode: Number.parseInt(mode!, 8),
    mtimeNs: BigInt(mtimeNs!),
    path: unescapeBytes(path!),
    target: target === undefined ? undefined : unescapeBytes(target),
  };
}

function commentOf(entry: PackedEntry): string {
  const fields = [MARK, entry.mode.toString(8), entry.mtimeNs, escapeBytes(entry.path)];
  if (entry.type === 'symlink') fields.push(escapeBytes(entry.target));
  return fields.join(' ');
}

/** Text without spaces or anything else that is not printable ASCII. */
export function escapeBytes(bytes: Buffer): string {
  return bytes
    .toString('latin1')
    .replace(/[^\w./+,=@~:-]/g, (char) => `%${char.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

export function unescapeBytes(text: string): Buffer {
  const bytes = text.replace(/%([0-9a-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(bytes, 'latin1');
}

function shown(bytes: Buffer): string {
  return isUtf8(bytes) ? bytes.toString('utf8') : escapeBytes(bytes);
}

function decimalSeconds(ns: bigint): string {
  const magnitude = ns < 0n ? -ns : ns;
  const fraction = (magnitude % NANOSECONDS).toString().padStart(9, '0');
  return `${ns < 0n ? '-' : ''}${magnitude / NANOSECONDS}.${fraction}`;
}

/** The field of the old header holds the years 1970 to 2038; pax readers take the exact time. */
function headerDate(ns: bigint): Date {
  const seconds = Number(ns / NANOSECONDS);
  return new Date(Math.max(0, Math.min(seconds, 2 ** 31 - 1)) * 1000);
}
