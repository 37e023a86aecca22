import t from 'tap';
import { standStill } from '../helpers/unread-replies.js';

t.test('clients in hundreds that never read and never finish hold little of the service', async (t) => {
  await standStill(t, {
    growthMib: 200,
    bodyGrowthMib: 900,
    pipelining: 50,
    pipelinedBytes: 192_000_000,
    readers: 300,
    senders: 300,
  });
});
