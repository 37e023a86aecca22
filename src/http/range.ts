// Byte ranges of a reply (RFC 9110, 14): one range, or the whole.
import type { FastifyReply } from 'fastify';
import { RangeNotSatisfiable } from '../errors.js';

/** From `start` to `end`, `end` not included. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** What to send of `size` bytes; sets status, Content-Range, Content-Length and Accept-Ranges. Several ranges, or a
 *  header that is none, mean the whole. Throws RangeNotSatisfiable for one that lies behind the end. */
export function byteRange(header: string | undefined, size: number, reply: FastifyReply): ByteRange {
  const range = parseRange(header, size);
  if (range && range.start >= range.end) {
    reply.header('content-range', `bytes */${size}`);
    throw new RangeNotSatisfiable(header!, size);
  }
  const { start, end } = range ?? { start: 0, end: size };
  reply.header('accept-ranges', 'bytes').header('content-length', end - start);
  if (range) reply.code(206).header('content-range', `bytes ${start}-${end - 1}/${size}`);
  return { start, end };
}

/** What the header asks for, before anything is decided. */
export function wantedRange(header: string | undefined, size: number): ByteRange {
  return parseRange(header, size) ?? { start: 0, end: size };
}

function parseRange(header: string | undefined, size: number): ByteRange | undefined {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '');
  if (!match || (match[1] === '' && match[2] === '')) return undefined;
  if (match[1] === '')
    return { start: Math.max(0, size - Number(match[2])), end: Number(match[2]) === 0 ? 0 : size };
  const start = Number(match[1]);
  const last = match[2] === '' ? size - 1 : Math.min(Number(match[2]), size - 1);
  if (match[2] !== '' && Number(match[2]) < start) return undefined;
  return { start, end: last + 1 };
}
