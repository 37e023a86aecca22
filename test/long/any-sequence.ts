import t from 'tap';
import { anySequence } from '../helpers/any-sequence.js';

t.test('whatever clients and operators do in whatever order, the promises hold, at length', async (t) => {
  await anySequence(t, t.testdir(), { runs: 40, steps: 40 });
});
