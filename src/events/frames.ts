// Many WebSocket text messages as one piece of memory: written once per batch and shared by all who are sent it, it
// costs one system call where a message at a time would cost hundreds.

const FINAL_TEXT = 0x81;
/** As many characters as a header has bytes. */
const GAPS: Readonly<Record<number, string>> = { 2: ' '.repeat(2), 4: ' '.repeat(4), 10: ' '.repeat(10) };

/** RFC 6455 frames as a server sends them: unmasked, uncompressed, one for each text. */
export function textFrames(texts: readonly string[]): Buffer {
  return asciiFrames(texts) ?? anyFrames(texts);
}

/**
 * The usual case, in which a character is a byte: one copy of all of it, with gaps into which the headers are written.
 * Undefined when it is another case.
 */
function asciiFrames(texts: readonly string[]): Buffer | undefined {
  const joined = texts.map((text) => GAPS[headerLength(text.length)]! + text).join('');
  if (Buffer.byteLength(joined) !== joined.length) return undefined;
  const frames = Buffer.allocUnsafe(joined.length);
  frames.write(joined, 'latin1');
  let at = 0;
  for (const { length } of texts) at = writeHeader(frames, at, length) + length;
  return frames;
}

function anyFrames(texts: readonly string[]): Buffer {
  const lengths = texts.map((text) => Buffer.byteLength(text));
  const total = lengths.reduce((sum, length) => sum + headerLength(length) + length, 0);
  const frames = Buffer.allocUnsafe(total);
  let at = 0;
  for (const [index, text] of texts.entries()) {
    const length = lengths[index]!;
    at = writeHeader(frames, at, length);
    at += frames.write(text, at, length, 'utf8');
  }
  return frames;
}

function headerLength(length: number): number {
  if (length < 126) return 2;
  return length < 65536 ? 4 : 10;
}

function writeHeader(frames: Buffer, at: number, length: number): number {
  frames[at] = FINAL_TEXT;
  if (length < 126) {
    frames[at + 1] = length;
  } else if (length < 65536) {
    frames[at + 1] = 126;
    frames.writeUInt16BE(length, at + 2);
  } else {
    frames[at + 1] = 127;
    frames.writeBigUInt64BE(BigInt(length), at + 2);
  }
  return at + headerLength(length);
}
