import t from 'tap';
import { fsList } from '../../src/tools/fs-list.js';
import { toolBench } from '../helpers/tool-context.js';

t.test('it shows what is in a directory', async (t) => {
  const bench = toolBench(t, { data: { 'test.txt': 'test content' }, 'b.py': '' });
  const names = async (args: Parameters<typeof fsList.run>[1]) =>
    (await fsList.run(bench, args)).outputs.entries!.map(({ path }) => path);
  t.same(await names({ path: 'data' }), ['data/test.txt']);
  t.same(await names({}), ['b.py', 'data']);
  t.same(await names({ recursive: true }), ['b.py', 'data', 'data/test.txt']);
  t.same(await names({ recursive: true, pattern: '*.txt' }), ['data/test.txt']);
  t.match((await fsList.run(bench, { path: 'data' })).outputs, {
    entries: [{ name: 'test.txt', type: 'file', sizeBytes: 12, mode: /^0[0-7]{3}$/ }],
    totalCount: 1,
    unreadableCount: 0,
  });
});

t.test('a limit is said, not hidden', async (t) => {
  const bench = toolBench(t, { a: '', b: '', c: '' });
  t.match((await fsList.run(bench, { limit: 2 })).outputs, {
    entries: [{ name: 'a' }, { name: 'b' }],
    totalCount: 3,
  });
});

t.test('a listing that does not fit into a reply names the way to go', async (t) => {
  const bench = toolBench(t, { a: '', b: '' }, { maxInlineBytes: 200 });
  await t.rejects(fsList.run(bench, {}), { code: 'FILE_TOO_LARGE', message: /smaller limit/ });
  await t.rejects(fsList.run(bench, { path: 'a' }), { code: 'NOT_A_DIRECTORY' });
});
