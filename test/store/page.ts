import t from 'tap';
import { PAGE_BYTES, readPage } from '../../src/store/page.js';

const third = PAGE_BYTES / 3;

for (const [name, sizes, read, isCut] of [
  ['rows that fit are read', [1, 0, null, third], ['0', '1', '2', '3'], false],
  ['those that do not are left to the next page', [third, third, third, 1, 1], ['0', '1', '2'], true],
  ['the first is read whatever its size', [5 * PAGE_BYTES, 1], ['0'], true],
  ['one alone is a whole page', [5 * PAGE_BYTES], ['0'], false],
  ['no rows are no page', [], [], false],
] as const) {
  t.test(name, async (t) => {
    const asked: string[] = [];
    const page = await readPage(
      sizes.map((bytes, index) => ({ id: String(index), bytes })),
      async (ids) => {
        asked.push(...ids);
        return ids.toReversed().map((id) => ({ id }));
      },
    );
    t.same(asked, read);
    t.same(page, { rows: read.map((id) => ({ id })), isCut });
  });
}

t.test('a row that was removed meanwhile is left out', async (t) => {
  const sizes = ['a', 'b', 'c'].map((id) => ({ id, bytes: 1 }));
  const page = await readPage(sizes, async () => [{ id: 'c' }, { id: 'a' }]);
  t.same(page, { rows: [{ id: 'a' }, { id: 'c' }], isCut: false });
});
