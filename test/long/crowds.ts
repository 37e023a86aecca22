import t from 'tap';
import { clientsAtOnce, crowdOnOneSession, readerOnEachSession } from '../helpers/crowds.js';

t.test('1,000 readers of one session see the same, and wait for nobody', async (t) => {
  const { deliveries, seconds } = await crowdOnOneSession(t, { readers: 1000, lines: 4000 });
  t.comment(`${Math.round(deliveries / seconds)} deliveries/s, readers in the same process`);
});

t.test('200 sessions with a reader each: every reader sees its own session, whole', async (t) => {
  await readerOnEachSession(t, { sessions: 200 });
});

t.test('500 clients that submit at once to a full lane: accepted or told when to come again', async (t) => {
  await clientsAtOnce(t, { clients: 500, room: 100 });
});
