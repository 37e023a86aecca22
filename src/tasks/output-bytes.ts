// The exact bytes of a stream, out of the pieces in which they were stored.
import type { OutputStream } from '../events/schema.js';
import type { TaskRepository } from './repository.js';

const PIECES_AT_ONCE = 16;

/** The bytes from `start` to `end` (exclusive) in order. Throws where one of them is not stored. */
export async function* readRange(
  repository: TaskRepository,
  task: string,
  stream: OutputStream,
  start: number,
  end: number,
): AsyncGenerator<Buffer> {
  let next = start;
  while (next < end) {
    const pieces = await repository.outputPieces(task, stream, next, end, PIECES_AT_ONCE);
    const before = next;
    for (const piece of pieces) {
      const bytes = Buffer.from(piece.bytes.buffer, piece.bytes.byteOffset, piece.bytes.byteLength);
      const from = next - piece.offset;
      if (from < 0 || from >= bytes.length) continue;
      const wanted = bytes.subarray(from, Math.min(bytes.length, end - piece.offset));
      next += wanted.length;
      yield wanted;
    }
    if (next === before) throw new Error(`byte ${next} of ${stream} of ${task} is not stored`);
  }
}

/** All of a range at once; for ranges that are known to be small. */
export async function collectBytes(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const piece of pieces) all.push(piece);
  return Buffer.concat(all);
}
