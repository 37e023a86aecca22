import t from 'tap';
import { tellNastyOutput } from '../helpers/nasty-output.js';

t.test('output that is hard to tell is shown the same on every transport, and kept exactly', async (t) => {
  await tellNastyOutput(t, { lineBytes: 5_000_000 });
});
