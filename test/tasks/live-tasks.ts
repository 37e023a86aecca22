import t from 'tap';
import type { Admission } from '../../src/tasks/admission.js';
import type { LiveTask } from '../../src/tasks/live-task.js';
import { LiveTasks } from '../../src/tasks/live-tasks.js';

const admission = { enter() {}, ended() {} } as unknown as Admission;
const task = (id: string, taskId: string, tenant = 'default') =>
  ({ facts: { id, taskId, tenant }, status: 'queued' }) as LiveTask;

t.test('a name belongs to the task that was stored, whoever else asked for it before or after', async (t) => {
  const tasks = new LiveTasks(admission);
  const [winner, loser, late] = [task('1', 'same'), task('2', 'same'), task('3', 'same')];
  tasks.admit(loser);
  tasks.admit(winner);
  t.equal(tasks.byName('default', 'same'), undefined, 'not before it is stored');
  tasks.accepted(winner);
  tasks.admit(late);
  tasks.forget(loser);
  tasks.forget(late);
  t.equal(tasks.byName('default', 'same'), winner);
  tasks.forget(winner);
  t.equal(tasks.byName('default', 'same'), undefined);
  t.same(tasks.all(), []);
});

t.test('tenants have names of their own', async (t) => {
  const tasks = new LiveTasks(admission);
  const mine = task('1', 'same', 'one');
  tasks.accepted(mine);
  t.equal(tasks.byName('one', 'same'), mine);
  t.equal(tasks.byName('two', 'same'), undefined);
});
