// A store of ten million events: what is asked of it is answered as fast as of a small one, and forgetting some of it holds
// up nobody.
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { checkLargeStore } from '../helpers/large-store-check.js';

/** Events in all, 10,000 in each session. */
const EVENTS = Number(process.env.LARGE_EVENTS ?? 10_000_000);

t.test(`${EVENTS} events`, async (t) => {
  const directory = t.testdir();
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  await checkLargeStore(t, directory, { sessions: EVENTS / 10_000, tasksOfEach: 100, eventsOfEach: 10_000 });
  t.comment(`store.db has ${(await stat(join(directory, 'store.db'))).size} bytes`);
});
