import t from 'tap';
import { standStill } from '../helpers/unread-replies.js';

t.test('clients that never read and never finish hold little of the service', async (t) => {
  await standStill(t, {
    growthMib: 512,
    bodyGrowthMib: 700,
    pipelining: 20,
    pipelinedBytes: 12_000_000,
    readers: 150,
    senders: 200,
  });
});
