// The end of a stream, kept while it goes by.
import { orphanedHead } from './utf8.js';

const TAIL_BYTES = 8 * 1024;

export class OutputTail {
  #chunks: Buffer[] = [];
  #bytes = 0;
  #total = 0;

  push(chunk: Uint8Array): void {
    // Copied, since a view would keep the whole buffer that it was cut from.
    const end = Buffer.from(chunk.subarray(-TAIL_BYTES));
    this.#total += chunk.length;
    this.#chunks.push(end);
    this.#bytes += end.length;
    if (this.#bytes > 4 * TAIL_BYTES) this.#compact();
  }

  /** Begins with a whole character; what is no UTF-8 is U+FFFD. */
  read(): { readonly text: string; readonly truncated: boolean } {
    this.#compact();
    const bytes = this.#chunks[0] ?? Buffer.alloc(0);
    const truncated = this.#total > bytes.length;
    return { text: bytes.toString('utf8', truncated ? orphanedHead(bytes) : 0), truncated };
  }

  #compact(): void {
    const end = Buffer.concat(this.#chunks).subarray(-TAIL_BYTES);
    this.#chunks = [end];
    this.#bytes = end.length;
  }
}
