import t from 'tap';
import { FairQueue } from '../../src/lib/fair-queue.js';

/** Items named by owner, group and number. */
function filled(...items: readonly string[]) {
  const queue = new FairQueue<string>();
  for (const item of items) queue.add(item, item[0]!, item[1]!);
  return queue;
}

const all = (queue: FairQueue<string>) => {
  const order: string[] = [];
  for (let item = queue.take(); item !== undefined; item = queue.take()) order.push(item);
  return order;
};

t.test('owners take turns, then their groups, and within a group the first comes first', async (t) => {
  const queue = filled('ax1', 'ax2', 'ax3', 'ay1', 'bz1', 'bz2', 'cw1');
  const expected = ['ax1', 'bz1', 'cw1', 'ay1', 'bz2', 'ax2', 'ax3'];
  t.same(queue.inOrder(), expected);
  t.same(all(queue), expected);
  t.same(queue.inOrder(), []);
});

t.test('who had a turn comes after those who came meanwhile', async (t) => {
  const queue = filled('ax1', 'ax2');
  t.equal(queue.take(), 'ax1');
  queue.add('by1', 'b', 'y');
  t.same(all(queue), ['ax2', 'by1']);
});

t.test('one that is taken out is not there any more, and disturbs no other', async (t) => {
  const queue = filled('ax1', 'bx1', 'ax2');
  t.ok(queue.remove('ax1'));
  t.notOk(queue.remove('ax1'));
  t.ok(queue.remove('bx1'));
  t.same(all(queue), ['ax2']);
});
