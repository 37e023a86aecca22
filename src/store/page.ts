// Lists are bounded in bytes as well as in rows: a page of two hundred rows of megabytes each would take the service's memory.
// A page first asks for the sizes of its rows, which the store knows without reading them, and then reads those that fit.

/** What a page reads at most, beyond its first row. */
export const PAGE_BYTES = 4 * 1024 * 1024;

/** A row of a list before it is read. */
export interface SizedRow {
  readonly id: string;
  readonly created_at: number;
  readonly bytes: number;
}

export interface Page<R> {
  readonly rows: R[];
  /** Where the next page begins; undefined on the last. A row that was removed while the page was read counts as read. */
  readonly next: Pick<SizedRow, 'id' | 'created_at'> | undefined;
}

/** A page of what the rows stand for. */
export interface Listed<T> {
  readonly items: T[];
  readonly next: Page<T>['next'];
}

/** The rows of a page, in the order of `sizes`, which are at most `limit`. `read` gives those of these ids, in any order. */
export async function readPage<R extends { readonly id: string }>(
  sizes: readonly SizedRow[],
  limit: number,
  read: (ids: readonly string[]) => Promise<readonly R[]>,
): Promise<Page<R>> {
  let bytes = 0;
  const over = sizes.findIndex((row, index) => {
    bytes += row.bytes;
    return index > 0 && bytes > PAGE_BYTES;
  });
  const kept = over < 0 ? sizes : sizes.slice(0, over);
  const ids = kept.map(({ id }) => id);
  const found = new Map((ids.length === 0 ? [] : await read(ids)).map((row) => [row.id, row]));
  return {
    rows: ids.flatMap((id) => found.get(id) ?? []),
    next: over >= 0 || sizes.length >= limit ? kept.at(-1) : undefined,
  };
}
