import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { fsStat } from '../../src/tools/fs-stat.js';
import { toolBench } from '../helpers/tool-context.js';

t.test('it tells what is there, of a link its own', async (t) => {
  const bench = toolBench(t, { 'a.txt': 'abc' });
  symlinkSync('a.txt', join(bench.root, 'link'));
  t.match((await fsStat.run(bench, { path: 'a.txt' })).outputs, { type: 'file', sizeBytes: 3 });
  t.match((await fsStat.run(bench, { path: 'link' })).outputs, { type: 'symlink', target: 'a.txt' });
  await t.rejects(fsStat.run(bench, { path: 'none' }), {
    code: 'FILE_NOT_FOUND',
    message: /"none".*fs\.list/,
  });
});
