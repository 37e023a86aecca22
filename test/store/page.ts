import t from 'tap';
import { PAGE_BYTES, readPage, type SizedRow } from '../../src/store/page.js';

const third = PAGE_BYTES / 3;
const sized = (sizes: readonly number[]): SizedRow[] =>
  sizes.map((bytes, index) => ({ id: String(index), created_at: 100 - index, bytes }));

for (const [name, limit, sizes, read, hasNext] of [
  ['rows that fit are read', 5, [1, 0, 0, third], ['0', '1', '2', '3'], false],
  ['as many as were asked for may have more behind them', 4, [1, 0, 0, third], ['0', '1', '2', '3'], true],
  ['those that do not fit are left to the next page', 9, [third, third, third, 1, 1], ['0', '1', '2'], true],
  ['the first is read whatever its size', 9, [5 * PAGE_BYTES, 1], ['0'], true],
  ['one alone is a whole page', 9, [5 * PAGE_BYTES], ['0'], false],
  ['no rows are no page', 9, [], [], false],
] as const) {
  t.test(name, async (t) => {
    const asked: string[] = [];
    const { rows, next } = await readPage(sized(sizes), limit, async (ids) => {
      asked.push(...ids);
      return ids.toReversed().map((id) => ({ id }));
    });
    t.same(asked, read);
    t.same(
      rows,
      read.map((id) => ({ id })),
    );
    t.equal(next?.id, hasNext ? read.at(-1) : undefined);
  });
}

t.test('a row that is removed meanwhile ends no list', async (t) => {
  const few = await readPage(sized([1, 1, 1]), 5, async () => [{ id: '2' }, { id: '0' }]);
  t.same(few, { rows: [{ id: '0' }, { id: '2' }], next: undefined });
  const full = await readPage(sized([1, 1, 1]), 3, async () => [{ id: '1' }, { id: '0' }]);
  t.same(
    full.rows.map(({ id }) => id),
    ['0', '1'],
  );
  t.match(full.next, { id: '2', created_at: 98 });
  t.match((await readPage(sized([1]), 1, async () => [])).next, { id: '0' });
});
