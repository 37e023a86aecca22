import t from 'tap';
import { OutputTail } from '../../src/events/output-tail.js';

t.test('a short stream is its own tail', async (t) => {
  const tail = new OutputTail();
  t.same(tail.read(), { text: '', truncated: false });
  tail.push(Buffer.from('grü'));
  tail.push(Buffer.from('ße'));
  t.same(tail.read(), { text: 'grüße', truncated: false });
});

t.test('of a long stream the last 8 KiB are kept, from a whole character on', async (t) => {
  const all = Buffer.from('€'.repeat(10_000));
  for (const size of [1, 7, 1000, 30_000]) {
    const tail = new OutputTail();
    for (let from = 0; from < all.length; from += size) tail.push(all.subarray(from, from + size));
    const { text, truncated } = tail.read();
    t.equal(truncated, true);
    t.equal(text, '€'.repeat(Math.floor(8192 / 3)), `in chunks of ${size}`);
  }
});
