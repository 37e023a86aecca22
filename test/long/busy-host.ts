import t from 'tap';
import { sessionsAtOnce } from '../helpers/busy-host.js';

t.test('100 new sessions at once on a busy host: the start of a sandbox is nobody’s time-out', async (t) => {
  const longestMs = await sessionsAtOnce(t, { sessions: 100 });
  t.comment(`the last one waited ${Math.round(longestMs / 1000)} s for its sandbox`);
});
