import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { fsMove } from '../../src/tools/fs-move.js';
import { toolBench } from '../helpers/tool-context.js';

t.test('it moves, and replaces only when asked', async (t) => {
  const bench = toolBench(t, { a: 'a', b: 'b' });
  await t.rejects(fsMove.run(bench, { path: 'a', to: 'b' }), { code: 'FILE_EXISTS', message: /"b"/ });
  t.match((await fsMove.run(bench, { path: 'a', to: 'b', overwrite: true })).outputs, { path: 'b' });
  t.equal(readFileSync(join(bench.root, 'b'), 'utf8'), 'a');
});
