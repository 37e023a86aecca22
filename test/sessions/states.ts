import t from 'tap';
import { isOver } from '../../src/sessions/schema.js';
import { stateOf } from '../../src/sessions/states.js';

const cases = [
  [{ terminating: false, checkpointing: false, runningTasks: 0 }, 'ready'],
  [{ terminating: false, checkpointing: false, runningTasks: 2 }, 'active'],
  [{ terminating: false, checkpointing: true, runningTasks: 2 }, 'checkpointing'],
  [{ terminating: true, checkpointing: true, runningTasks: 2 }, 'terminating'],
] as const;

for (const [facts, state] of cases) {
  t.test(`${JSON.stringify(facts)} is ${state}`, async (t) => t.equal(stateOf(facts), state));
}

t.test('only terminated and failed sessions are over', async (t) => {
  t.equal(isOver('terminated'), true);
  t.equal(isOver('failed'), true);
  t.equal(isOver('terminating'), false);
});
