import t from 'tap';
import { tellNastyOutput } from '../helpers/nasty-output.js';

t.test('output that is hard to tell, with one line of 50 MB', async (t) => {
  await tellNastyOutput(t, { lineBytes: 50_000_000 });
});
