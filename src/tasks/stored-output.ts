// The exact bytes of a stream, out of the pieces in which they were stored and of which retention may have removed the
// first.
import { OutputRemoved } from '../errors.js';
import type { OutputStream } from '../events/schema.js';
import type { TaskRow } from '../store/schema.js';
import type { TaskRepository } from './repository.js';

const PIECES_AT_ONCE = 16;

export class StoredOutput {
  constructor(
    private readonly repository: TaskRepository,
    private readonly row: TaskRow,
    private readonly stream: OutputStream,
  ) {}

  /** How many bytes there are so far, those that were removed included. */
  async size(): Promise<number> {
    const { row, stream } = this;
    if (row.ended_at === null) return this.repository.storedBytes(row.id, stream);
    return stream === 'stdout' ? row.stdout_bytes : row.stderr_bytes;
  }

  /** Throws OutputRemoved when the byte at `start` was removed. */
  async requireFrom(start: number): Promise<void> {
    const size = await this.size();
    if (start >= size) return;
    const first = (await this.repository.firstStored(this.row.id, this.stream)) ?? size;
    if (start < first) throw new OutputRemoved(this.row.task_id, this.stream, first, size);
  }

  /** The bytes from `start` to `end` (exclusive) in order. Throws OutputRemoved where one of them is gone. */
  async *read(start: number, end: number): AsyncGenerator<Buffer> {
    let next = start;
    while (next < end) {
      const before = next;
      for (const piece of await this.#piecesFrom(next, end)) {
        const bytes = Buffer.from(piece.bytes.buffer, piece.bytes.byteOffset, piece.bytes.byteLength);
        const from = next - piece.offset;
        if (from < 0 || from >= bytes.length) continue;
        const wanted = bytes.subarray(from, Math.min(bytes.length, end - piece.offset));
        next += wanted.length;
        yield wanted;
      }
      if (next === before) {
        await this.requireFrom(next);
        throw new Error(`byte ${next} of ${this.stream} of ${this.row.id} is not stored`);
      }
    }
  }

  /** All of a range at once; for ranges that are known to be small. */
  async collect(start: number, end: number): Promise<Buffer> {
    const all: Uint8Array[] = [];
    for await (const piece of this.read(start, end)) all.push(piece);
    return Buffer.concat(all);
  }

  #piecesFrom(start: number, end: number) {
    return this.repository.outputPieces(this.row.id, this.stream, start, end, PIECES_AT_ONCE);
  }
}
