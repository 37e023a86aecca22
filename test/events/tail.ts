import t from 'tap';
import { Batch, type Line } from '../../src/events/line.js';
import { Tail, Tails, Wakeup } from '../../src/events/tail.js';

const batch = (from: number, to: number, json = '{}') =>
  new Batch(
    Array.from({ length: to - from + 1 }, (_, index): Line => {
      return { seq: from + index, taskId: null, type: 'session.expiring', json, ends: undefined };
    }),
  );

t.test('only the store can tell what was before the first publication', async (t) => {
  const tail = new Tail();
  t.equal(tail.after(0), 'store');
  const published = batch(5, 6);
  tail.publish(published);
  t.equal(tail.after(3), 'store');
  t.equal(tail.after(4), published);
  t.equal(tail.after(5), published);
  t.equal(tail.after(6), 'head');
});

t.test('the first event of a session can be taken from the tail', async (t) => {
  const tail = new Tail();
  const published = batch(1, 1);
  tail.publish(published);
  t.equal(tail.after(0), published);
});

const seqs = (given: Batch | 'head' | 'store') => (given as Batch).lines.map(({ seq }) => seq);

t.test(
  'readers that are equally far are given the same batch, made once, with all that there is',
  async (t) => {
    const tail = new Tail();
    for (const each of [batch(1, 3), batch(4, 4), batch(5, 6)]) tail.publish(each);
    t.same(seqs(tail.after(0)), [1, 2, 3, 4, 5, 6]);
    t.equal(tail.after(0), tail.after(0));
    t.equal(tail.after(0), tail.after(2), 'in the middle of the first');
    t.same(seqs(tail.after(3)), [4, 5, 6]);
    t.same(seqs(tail.after(4)), [5, 6]);
    t.same(seqs(tail.after(0)), [1, 2, 3, 4, 5, 6]);
    const all = tail.after(3) as Batch;
    t.equal(all.part({ after: 3, taskId: undefined, limit: 10 }), all);
    tail.publish(batch(7, 7));
    t.same(seqs(tail.after(3)), [4, 5, 6, 7], 'what comes is not missed');
  },
);

t.test('no more is joined than a reader takes in a step', async (t) => {
  const tail = new Tail();
  tail.publish(batch(1, 300));
  tail.publish(batch(301, 500));
  tail.publish(batch(501, 501));
  t.equal((tail.after(0) as Batch).lastSeq, 500);
  t.same(seqs(tail.after(500)), [501]);
  const large = batch(502, 1200);
  tail.publish(large);
  t.equal(tail.after(501), large);
  tail.publish(batch(1201, 1201));
  t.equal((tail.after(501) as Batch).lastSeq, 1200);
});

t.test('the tail is bounded; who falls out of it goes to the store', async (t) => {
  const tail = new Tail();
  const large = 'x'.repeat(100_000);
  for (let seq = 1; seq <= 20; seq++) tail.publish(batch(seq, seq, large));
  t.equal(tail.after(14), 'store');
  t.type(tail.after(15), Batch);
  tail.publish(batch(21, 21, 'x'.repeat(1_000_000)));
  t.equal(tail.after(20), 'store');
  t.equal(tail.after(21), 'head');
});

t.test('a hole in what is published is never handed over as if it were none', async (t) => {
  const tail = new Tail();
  tail.publish(batch(1, 2));
  tail.publish(batch(5, 5));
  t.equal(tail.after(2), 'store');
  t.type(tail.after(4), Batch);
});

t.test('a wake-up that comes while one looks is not lost', async (t) => {
  const wakeup = new Wakeup();
  wakeup.clear();
  wakeup.wake();
  await t.resolves(wakeup.wait());
  wakeup.clear();
  const waiting = wakeup.wait();
  wakeup.wake();
  await t.resolves(waiting);
});

t.test('a session that nobody reads keeps nothing', async (t) => {
  const tails = new Tails();
  const session = { id: 's', sessionId: 's' };
  const event = { time: 0, taskId: null, type: 'session.expiring', data: '{}' } as const;
  const first = tails.join('s', new Wakeup());
  const second = tails.join('s', new Wakeup());
  t.equal(first.tail, second.tail);
  first.leave();
  tails.publish(session, [{ ...event, seq: 1 }]);
  t.type(second.tail.after(0), Batch);
  second.leave();
  tails.publish(session, [{ ...event, seq: 2 }]);
  const third = tails.join('s', new Wakeup());
  t.equal(third.tail.after(0), 'store');
  third.leave();
  second.leave();
});
