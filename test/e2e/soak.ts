import t from 'tap';
import { emptyDirectory } from '../helpers/directory.js';
import { soak } from '../helpers/soak.js';

t.test('mixed tasks over many sessions with readers that come and go leave nothing behind', async (t) => {
  const held = await soak(t, emptyDirectory(t), { tasks: 120, tasksPerSession: 6, atOnce: 4 });
  const [first, last] = [held[1]!, held.at(-1)!];
  t.ok(last.files <= first.files + 4, `open files: ${first.files}, then ${last.files}`);
  t.equal(last.threads, first.threads, 'threads');
});
