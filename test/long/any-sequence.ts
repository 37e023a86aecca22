import t from 'tap';
import { anySequence } from '../helpers/any-sequence.js';
import { emptyDirectory } from '../helpers/directory.js';

t.test('whatever clients and operators do in whatever order, the promises hold, at length', async (t) => {
  await anySequence(t, emptyDirectory(t), { runs: 40, steps: 40 });
});
