import t from 'tap';
import { closedLoop, inTurns, ratioRow } from '../../bench/pairs.js';

t.test('floor and product are measured in turns, and the warm-up does not count', async (t) => {
  const order: string[] = [];
  let n = 0;
  const { floor, product, ratio } = await inTurns(
    4,
    {
      floor: async () => {
        order.push('f');
        return 10;
      },
      product: async () => {
        order.push('p');
        n += 1;
        return n === 1 ? 1_000_000 : 20;
      },
    },
    1,
  );
  t.equal(order.join(''), 'pffppffppf');
  t.same(floor, [10, 10, 10, 10]);
  t.same(product, [20, 20, 20, 20]);
  t.equal(ratio, 2);
});

t.test('the ratio is that of neighbours: a machine that slows down slows both', async (t) => {
  let slow = 1;
  const pairs = await inTurns(
    9,
    {
      floor: async () => 10 * slow,
      product: async () => {
        slow += 1;
        return 5 * (slow - 1);
      },
    },
    0,
  );
  const row = ratioRow(pairs, { work: 'x', unit: 'ms', floorIs: 'y' });
  t.ok(row.figure.value >= 0.25 && row.figure.value <= 0.5, String(row.figure.value));
  t.ok(row.product.median < row.floor!.median);
});

t.test('a closed loop counts the turns of all its loops', async (t) => {
  const seen = new Set<number>();
  const rate = await closedLoop(3, 0.05, async (loop) => {
    seen.add(loop);
    await new Promise((resolve) => setImmediate(resolve));
  });
  t.same([...seen].sort(), [0, 1, 2]);
  t.ok(rate > 3);
});
