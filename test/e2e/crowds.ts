import t from 'tap';
import { clientsAtOnce, crowdOnOneSession, readerOnEachSession } from '../helpers/crowds.js';

t.test('40 readers of one session see the same, and wait for nobody', async (t) => {
  await crowdOnOneSession(t, { readers: 40, lines: 4000 });
});

t.test('20 sessions with a reader each: every reader sees its own session, whole', async (t) => {
  await readerOnEachSession(t, { sessions: 20 });
});

t.test('120 clients that submit at once to a full lane: accepted or told when to come again', async (t) => {
  await clientsAtOnce(t, { clients: 120, room: 20 });
});
