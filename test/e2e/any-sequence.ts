import t from 'tap';
import { anySequence } from '../helpers/any-sequence.js';
import { emptyDirectory } from '../helpers/directory.js';

t.test('whatever clients and operators do in whatever order, the promises hold', async (t) => {
  await anySequence(t, emptyDirectory(t), { runs: 2, steps: 16 });
});
