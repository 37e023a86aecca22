// Lists are bounded in bytes as well as in rows: a page of two hundred rows of megabytes each would take the service's memory.
// A page first asks for the sizes of its rows, which the store knows without reading them, and then reads those that fit.

/** What a page reads at most, beyond its first row. */
export const PAGE_BYTES = 4 * 1024 * 1024;

export interface Page<R> {
  readonly rows: R[];
  /** More rows may follow, though the page has fewer than were asked for. */
  readonly isCut: boolean;
}

/** A page of what the rows stand for. */
export interface Listed<T, R> {
  readonly items: T[];
  readonly last: R | undefined;
  readonly isCut: boolean;
}

/** The rows of a page, in the order of `sizes`. `read` gives those of these ids, in any order. */
export async function readPage<R extends { readonly id: string }>(
  sizes: readonly { readonly id: string; readonly bytes: number | null }[],
  read: (ids: readonly string[]) => Promise<R[]>,
): Promise<Page<R>> {
  let bytes = 0;
  const over = sizes.findIndex((row, index) => {
    bytes += row.bytes ?? 0;
    return index > 0 && bytes > PAGE_BYTES;
  });
  const ids = sizes.slice(0, over < 0 ? sizes.length : over).map(({ id }) => id);
  const found = new Map((ids.length === 0 ? [] : await read(ids)).map((row) => [row.id, row]));
  // One that was removed in between is left out.
  return { rows: ids.flatMap((id) => found.get(id) ?? []), isCut: over >= 0 };
}
