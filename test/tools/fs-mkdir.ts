import { statSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { fsMkdir } from '../../src/tools/fs-mkdir.js';
import { toolBench } from '../helpers/tool-context.js';

t.test('it makes what is missing on the way, unless told not to', async (t) => {
  const bench = toolBench(t);
  t.match((await fsMkdir.run(bench, { path: 'a/b' })).outputs, { path: 'a/b', type: 'directory' });
  t.ok(statSync(join(bench.root, 'a/b')).isDirectory());
  t.match((await fsMkdir.run(bench, { path: 'a/b' })).outputs, { path: 'a/b' });
  await t.rejects(fsMkdir.run(bench, { path: 'a/b', parents: false }), { code: 'FILE_EXISTS' });
  await t.rejects(fsMkdir.run(bench, { path: 'c/d', parents: false }), { code: 'FILE_NOT_FOUND' });
});
