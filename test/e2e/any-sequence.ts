import t from 'tap';
import { anySequence } from '../helpers/any-sequence.js';

t.test('whatever clients and operators do in whatever order, the promises hold', async (t) => {
  await anySequence(t, t.testdir(), { runs: 2, steps: 16 });
});
