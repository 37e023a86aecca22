import t from 'tap';
import { testLeftovers } from '../helpers/leftovers.js';

t.test(
  'a thousand tasks and two hundred sessions, some killed midway, leave nothing on the host',
  async (t) => {
    await testLeftovers(t, { tasks: 1000, sessions: 200 });
  },
);
