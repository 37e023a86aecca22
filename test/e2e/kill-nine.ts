import t from 'tap';
import { killRounds } from '../helpers/kill-rounds.js';

t.test('kill -9 under work: nothing acknowledged is lost, nothing repeated, no orphan process', async (t) => {
  await killRounds(t, t.testdir(), 3);
});
