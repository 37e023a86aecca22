import { readdirSync } from 'node:fs';
import t from 'tap';
import { fsRemove } from '../../src/tools/fs-remove.js';
import { toolBench } from '../helpers/tool-context.js';

t.test('it removes a file, and a full directory only when asked', async (t) => {
  const bench = toolBench(t, { 'a.txt': 'a', dir: { sub: { b: '' } } });
  t.match((await fsRemove.run(bench, { path: 'a.txt' })).outputs, { path: 'a.txt', type: 'file' });
  await t.rejects(fsRemove.run(bench, { path: 'dir' }), {
    code: 'DIRECTORY_NOT_EMPTY',
    message: /recursive/,
  });
  t.match((await fsRemove.run(bench, { path: 'dir', recursive: true })).outputs, { type: 'directory' });
  t.same(readdirSync(bench.root), []);
});
