// A store of ten million events: what is asked of it is answered as fast as of a small one, and forgetting some of it holds
// up nobody.
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { checkLargeStore } from '../helpers/large-store-check.js';

t.test('ten million events', async (t) => {
  const directory = t.testdir();
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  await checkLargeStore(t, directory, { sessions: 1000, tasksOfEach: 100, eventsOfEach: 10_000 });
  t.comment(`store.db has ${(await stat(join(directory, 'store.db'))).size} bytes`);
});
