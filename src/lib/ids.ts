// Ids that say what they name and sort by when they were made: `ses_` and a UUIDv7 in lower-case Crockford base32.
import { v7 } from 'uuid';

export type IdPrefix = 'ses' | 'tsk' | 'ckp';

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
const CHARACTERS = 26;
const PADDING_BITS = CHARACTERS * 5 - 128;

/** A new id; within one process each sorts after the one before it. */
export function newId(prefix: IdPrefix): string {
  return `${prefix}_${base32(v7(undefined, new Uint8Array(16)))}`;
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
