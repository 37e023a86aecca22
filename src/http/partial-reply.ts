// A reply that is kept for the repeats of its request is kept whole only while it is small. Of a large one the small members
// are kept; the route says how the others are fetched again.
import type { FastifyRequest } from 'fastify';

/** Small members of a reply, by name. */
export type ReplyMembers = Readonly<Record<string, unknown>>;

/** Gives the members of a reply that are fetched again for a repeat; `kept` are those that were stored. They take the place
 *  of stored ones of the same name. */
export type Refetch = (request: FastifyRequest, kept: ReplyMembers) => Promise<object>;

/** A larger reply is kept in part. Source: 1.2 million of them fill STORE_RETENTION_BYTES' default of 20 GiB. */
const WHOLE_REPLY_BYTES = 16 * 1024;
const SMALL_MEMBER_BYTES = 512;

/** What is stored of a reply: all of it; all of it, though the large members could be fetched again; the small members. */
export type BodyKind = 'whole' | 'cuttable' | 'part';

/** Below this cutting gains nothing. */
const LEAST_CUT_BYTES = 1024;

export function storedBody(body: Buffer, canBeFetched: boolean): { body: Buffer; bodyKind: BodyKind } {
  if (!canBeFetched || body.byteLength < LEAST_CUT_BYTES) return { body, bodyKind: 'whole' };
  if (body.byteLength <= WHOLE_REPLY_BYTES) return { body, bodyKind: 'cuttable' };
  return { body: partOf(body), bodyKind: 'part' };
}

/** The JSON of the small members. */
export function partOf(body: Uint8Array): Buffer {
  const members = Object.entries(JSON.parse(Buffer.from(body).toString('utf8')) as object);
  const small = members.filter(([, value]) => Buffer.byteLength(JSON.stringify(value)) <= SMALL_MEMBER_BYTES);
  return Buffer.from(JSON.stringify(Object.fromEntries(small)));
}
