// How a tree travels between the service and `python/tree.py`, which describes it.

/** kind, length of path, mode, mtime seconds, mtime nanoseconds, size */
const HEAD_BYTES = 1 + 4 + 2 + 8 + 4 + 8;
const NANOSECONDS = 1_000_000_000n;
const MAX_TEXT_BYTES = 65_536;

export type FrameKind = 'd' | 'f' | 'l' | 's' | 'e';

export interface FrameHead {
  readonly kind: FrameKind;
  readonly path: Buffer;
  readonly mode: number;
  readonly mtimeNs: bigint;
  /** Bytes that follow the path. */
  readonly size: number;
}

export function encodeHead({ kind, path, mode, mtimeNs, size }: FrameHead): Buffer {
  const frame = Buffer.alloc(HEAD_BYTES + path.length);
  // Rounded down, so that what is left is never negative.
  const fraction = ((mtimeNs % NANOSECONDS) + NANOSECONDS) % NANOSECONDS;
  frame.write(kind, 0, 'latin1');
  frame.writeUInt32BE(path.length, 1);
  frame.writeUInt16BE(mode, 5);
  frame.writeBigInt64BE((mtimeNs - fraction) / NANOSECONDS, 7);
  frame.writeUInt32BE(Number(fraction), 15);
  frame.writeBigUInt64BE(BigInt(size), 19);
  path.copy(frame, HEAD_BYTES);
  return frame;
}

export async function readHead(bytes: ByteReader): Promise<FrameHead> {
  const head = await bytes.exactly(HEAD_BYTES);
  const kind = String.fromCharCode(head[0]!) as FrameKind;
  const pathLength = head.readUInt32BE(1);
  const size = Number(head.readBigUInt64BE(19));
  if (!'dflse'.includes(kind) || pathLength > MAX_TEXT_BYTES || (kind !== 'f' && size > MAX_TEXT_BYTES)) {
    throw new Error('the tree holds an entry that makes no sense');
  }
  return {
    kind,
    mode: head.readUInt16BE(5) & 0o777,
    mtimeNs: head.readBigInt64BE(7) * NANOSECONDS + BigInt(head.readUInt32BE(15)),
    size,
    path: await bytes.exactly(pathLength),
  };
}

/** Bytes of a stream, as many at a time as are wanted. */
export class ByteReader {
  readonly #chunks: AsyncIterator<Buffer>;
  #buffered: Buffer = Buffer.alloc(0);

  constructor(stream: AsyncIterable<Buffer>) {
    this.#chunks = stream[Symbol.asyncIterator]();
  }

  async exactly(length: number): Promise<Buffer> {
    if (this.#buffered.length < length) {
      const parts = [this.#buffered];
      let have = this.#buffered.length;
      while (have < length) {
        const part = await this.#next();
        parts.push(part);
        have += part.length;
      }
      this.#buffered = Buffer.concat(parts);
    }
    const taken = this.#buffered.subarray(0, length);
    this.#buffered = this.#buffered.subarray(length);
    return taken;
  }

  /** The next `length` bytes, in the pieces they come in. */
  async *pieces(length: number): AsyncGenerator<Buffer> {
    let left = length;
    while (left > 0) {
      if (this.#buffered.length === 0) this.#buffered = await this.#next();
      const piece = this.#buffered.subarray(0, Math.min(left, this.#buffered.length));
      this.#buffered = this.#buffered.subarray(piece.length);
      left -= piece.length;
      yield piece;
    }
  }

  async #next(): Promise<Buffer> {
    const { done, value } = await this.#chunks.next();
    if (done) throw new Error('the stream ended in the middle of an entry');
    return value;
  }
}
