import t from 'tap';
import { testLeftovers } from '../helpers/leftovers.js';

t.test('sixty tasks and twelve sessions, some killed midway, leave nothing on the host', async (t) => {
  await testLeftovers(t, { tasks: 60, sessions: 12 });
});
