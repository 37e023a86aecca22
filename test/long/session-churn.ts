import t from 'tap';
import { noOtherHosts as skip } from '../helpers/hosts.js';
import { churnSessions } from '../helpers/session-churn.js';

/** How long it goes on. */
const CHURN_MINUTES = Number(process.env.CHURN_MINUTES ?? 10);

t.test('sessions that come and go for a long time end nothing of another one', { skip }, async (t) => {
  const endsAt = performance.now() + CHURN_MINUTES * 60_000;
  const sessions = await churnSessions(t, { atOnce: 10, isEnough: () => performance.now() > endsAt });
  t.comment(`${sessions} sessions in ${CHURN_MINUTES} minutes`);
  t.ok(sessions > 10);
});
