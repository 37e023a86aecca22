import t from 'tap';
import { sessionsAtOnce } from '../helpers/busy-host.js';

t.test('20 new sessions at once on a busy host: the start of a sandbox is nobody’s time-out', async (t) => {
  await sessionsAtOnce(t, { sessions: 20 });
});
