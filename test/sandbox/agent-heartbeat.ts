import t, { type Test } from 'tap';
import { AgentHeartbeat } from '../../src/sandbox/agent-heartbeat.js';

/** One whose looks the test makes itself. */
function heartbeat(t: Test, facts: { isAwaited: boolean; couldAnswer: boolean }) {
  const seen = { asked: 0, dead: '' };
  const heart = new AgentHeartbeat({
    isAwaited: () => facts.isAwaited,
    couldAnswer: () => facts.couldAnswer,
    ask: () => {
      seen.asked += 1;
    },
    dead: (reading) => {
      seen.dead = reading;
    },
  });
  t.teardown(() => heart.stop());
  const look = (times: number) => {
    for (let n = 0; n < times; n += 1) heart.look();
  };
  return { heart, look, seen };
}

t.test('a busy agent that could answer and does not is asked, and then taken for dead', async (t) => {
  const { look, seen } = heartbeat(t, { isAwaited: true, couldAnswer: true });
  look(19);
  t.ok(seen.asked > 10);
  t.equal(seen.dead, '');
  look(1);
  t.match(seen.dead, /silent at 20 looks in a row/, 'what that rests on is said');
});

t.test('whatever it says begins the count anew, and one without work is not counted', async (t) => {
  const facts = { isAwaited: true, couldAnswer: true };
  const { heart, look, seen } = heartbeat(t, facts);
  look(19);
  heart.heard();
  look(19);
  facts.isAwaited = false;
  look(100);
  facts.isAwaited = true;
  look(19);
  t.equal(seen.dead, '');
});

t.test('one that waits for a processor is not silent, unless that never ends', async (t) => {
  const facts = { isAwaited: true, couldAnswer: false };
  const { look, seen } = heartbeat(t, facts);
  look(199);
  t.equal(seen.dead, '');
  look(1);
  t.match(seen.dead, /waiting for a processor at 200/);
});
