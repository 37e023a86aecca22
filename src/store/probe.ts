// Whether the store can store, found out by storing: a number in the file's header that nobody reads.
import type { Store } from './store.js';

/** However often it is asked, the disk is not. */
const GOOD_FOR_MS = 1000;

/** Rejects as `Store.write` does. */
export function storeProbe(store: Pick<Store, 'write'>): () => Promise<void> {
  let last: { readonly at: number; readonly result: Promise<void> } | undefined;
  // SQLite writes no page that stays as it is.
  let written = 1;
  return () => {
    const at = performance.now();
    if (!last || at - last.at >= GOOD_FOR_MS) {
      written = 3 - written;
      const sql = `pragma user_version = ${written}`;
      last = { at, result: store.write([{ sql, parameters: [] }]).then(() => {}) };
    }
    return last.result;
  };
}
