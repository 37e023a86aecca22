import t from 'tap';
import { clockChange } from '../../src/lib/clock-change.js';

t.test('a change of the wall clock is told apart from time that passes', async (t) => {
  let wall = 1_000_000;
  let steady = 50;
  const change = clockChange({ wall: () => wall, steady: () => steady });
  wall += 5000;
  steady += 5000.4;
  t.equal(change(), 0);
  wall += 3_600_000;
  t.equal(change(), 3_600_000);
  wall -= 2 * 3_600_000;
  t.equal(change(), -3_600_000);
});
