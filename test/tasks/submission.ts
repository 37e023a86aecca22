import t from 'tap';
import { hashSubmission, queuedRow } from '../../src/tasks/submission.js';

const work = { tool: 'echo', arguments: { message: 'hi' } };

t.test('the hash knows the work and its session, not its id or the order of members', async (t) => {
  const hash = hashSubmission('ses_1', work);
  t.equal(hashSubmission('ses_1', { arguments: { message: 'hi' }, tool: 'echo', taskId: 'mine' }), hash);
  t.not(hashSubmission('ses_2', work), hash);
  t.not(hashSubmission('ses_1', { ...work, arguments: { message: 'ho' } }), hash);
  t.not(hashSubmission('ses_1', { ...work, background: true }), hash);
});

t.test('a task without a name of the client is known by its internal id', async (t) => {
  const owner = { tenant: 'default', session: 'ses_1' };
  t.match(queuedRow('tsk_1', owner, work, 5), {
    id: 'tsk_1',
    task_id: 'tsk_1',
    status: 'queued',
    created_at: 5,
  });
  t.match(queuedRow('tsk_1', owner, { ...work, taskId: 'mine' }, 5), { id: 'tsk_1', task_id: 'mine' });
});
