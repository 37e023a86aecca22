// gzip as pigz makes it: blocks compressed side by side in the thread pool, joined to one ordinary gzip member. A block
// that does not shrink is stored, since compressing random bytes costs ten times as much as writing them.
import { Transform, type TransformCallback } from 'node:stream';
import { constants, crc32, deflateRaw, deflateRawSync } from 'node:zlib';

const BLOCK_BYTES = 1024 * 1024;
const BLOCKS_AT_ONCE = 4;
const SAMPLE_BYTES = 8192;
const LEVEL = 1;
/** No name, no time, unknown system: the same tree gives the same bytes. */
const HEADER = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255]);
/** An empty block that says it is the last. */
const LAST_BLOCK = Buffer.from([0x03, 0x00]);

export class GzipBlocks extends Transform {
  readonly #compressing: Promise<Buffer>[] = [];
  #parts: Buffer[] = [];
  #partBytes = 0;
  #crc = 0;
  #totalBytes = 0;

  constructor() {
    super({ readableHighWaterMark: BLOCK_BYTES, writableHighWaterMark: BLOCK_BYTES });
    this.push(HEADER);
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#take(chunk).then(() => done(), done);
  }

  override _flush(done: TransformCallback): void {
    if (this.#partBytes > 0) this.#startBlock();
    this.#pushFinished(0).then(() => {
      this.push(LAST_BLOCK);
      this.push(this.trailer());
      done();
    }, done);
  }

  /** The last eight bytes: checksum and length of what went in. */
  trailer(): Buffer {
    const trailer = Buffer.alloc(8);
    trailer.writeUInt32LE(this.#crc, 0);
    trailer.writeUInt32LE(this.#totalBytes % 2 ** 32, 4);
    return trailer;
  }

  /** Blocks end where they are full and not where a chunk does, so that the same bytes give the same archive. */
  async #take(chunk: Buffer): Promise<void> {
    for (let at = 0; at < chunk.length; ) {
      const part = chunk.subarray(at, at + BLOCK_BYTES - this.#partBytes);
      this.#parts.push(part);
      this.#partBytes += part.length;
      at += part.length;
      if (this.#partBytes < BLOCK_BYTES) return;
      this.#startBlock();
      await this.#pushFinished(BLOCKS_AT_ONCE - 1);
    }
  }

  #startBlock(): void {
    const block = Buffer.concat(this.#parts, this.#partBytes);
    this.#parts = [];
    this.#partBytes = 0;
    this.#crc = crc32(block, this.#crc);
    this.#totalBytes += block.length;
    const compressed = compress(block);
    // Whoever waits for it hears of a failure; until then it must not count as unheard.
    compressed.catch(() => {});
    this.#compressing.push(compressed);
  }

  /** In their order, until no more than `left` are still at work. */
  async #pushFinished(left: number): Promise<void> {
    while (this.#compressing.length > left) this.push(await this.#compressing.shift());
  }
}

function compress(block: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const options = {
      level: shrinks(block) ? LEVEL : 0,
      // Ends on a whole byte and leaves the stream open for the next block.
      finishFlush: constants.Z_SYNC_FLUSH,
      chunkSize: block.length + 65_536,
    };
    deflateRaw(block, options, (error, compressed) => (error ? reject(error) : resolve(compressed)));
  });
}

/** Judged by a sample of its middle. */
function shrinks(block: Buffer): boolean {
  const from = Math.max(0, (block.length - SAMPLE_BYTES) >> 1);
  const sample = block.subarray(from, from + SAMPLE_BYTES);
  return deflateRawSync(sample, { level: LEVEL }).length < sample.length * 0.97;
}
