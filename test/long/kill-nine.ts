import t from 'tap';
import { emptyDirectory } from '../helpers/directory.js';
import { killRounds } from '../helpers/kill-rounds.js';

t.test('a hundred rounds of kill -9 under work', async (t) => {
  await killRounds(t, emptyDirectory(t), Number(process.env.KILL_ROUNDS ?? 100));
});
