// Ids that say what they name and sort by when they were made: `ses_` and a UUIDv7 in lower-case Crockford base32.
import { randomFillSync } from 'node:crypto';
import { v7 } from 'uuid';

export type IdPrefix = 'ses' | 'tsk' | 'ckp';

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
const CHARACTERS = 26;
const PADDING_BITS = CHARACTERS * 5 - 128;

let lastMs = Number.NEGATIVE_INFINITY;
/** Of 32 bits; it begins with 31, so that no millisecond uses it up. */
let sequence = 0;

/** A new id; within one process each sorts after the one before it. */
export function newId(prefix: IdPrefix): string {
  const random = randomBytes();
  const now = Date.now();
  if (now > lastMs) {
    lastMs = now;
    sequence = random.readUInt32BE() >>> 1;
  } else {
    sequence += 1;
  }
  return `${prefix}_${base32(v7({ random, msecs: lastMs, seq: sequence }, new Uint8Array(16)))}`;
}

/** Drawn for many ids at once: asking for so few takes ten times as long as the rest of an id. */
const drawn = Buffer.alloc(256 * 16);
let used = drawn.length;

function randomBytes(): Buffer {
  if (used === drawn.length) {
    randomFillSync(drawn);
    used = 0;
  }
  used += 16;
  return drawn.subarray(used - 16, used);
}

/** 128 bits as 26 characters, the first of which holds only three bits, so that text sorts as the number does. */
function base32(bytes: Uint8Array): string {
  let text = '';
  let waiting = 0;
  let waitingBits = PADDING_BITS;
  for (const byte of bytes) {
    waiting = (waiting << 8) | byte;
    waitingBits += 8;
    while (waitingBits >= 5) {
      waitingBits -= 5;
      text += ALPHABET[(waiting >> waitingBits) & 31];
    }
    waiting &= (1 << waitingBits) - 1;
  }
  return text;
}
