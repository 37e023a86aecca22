import t from 'tap';
import { noOtherHosts as skip } from '../helpers/hosts.js';
import { churnSessions } from '../helpers/session-churn.js';

t.test(
  'sessions that are deleted end nothing of another one, on a disk that is 80 % full',
  { skip },
  async (t) => {
    await churnSessions(t, { atOnce: 10, isEnough: (sessions) => sessions >= 120 });
  },
);
