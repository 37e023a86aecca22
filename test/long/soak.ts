import t from 'tap';
import { emptyDirectory } from '../helpers/directory.js';
import { soak } from '../helpers/soak.js';

/** Fewer say less and take less than the hour or so that these take. */
const TASKS = Number(process.env.SOAK_TASKS ?? 200_000);
t.setTimeout(6 * 3_600_000);

t.test('200,000 mixed tasks over 2,000 sessions: memory, files and the store stay flat', async (t) => {
  const held = await soak(t, emptyDirectory(t), { tasks: TASKS, tasksPerSession: 100, atOnce: 8 });
  const [settled, last] = [held[2]!, held.at(-1)!];
  t.ok(last.rssMiB <= settled.rssMiB + 40, `memory: ${settled.rssMiB}, then ${last.rssMiB} MiB`);
  t.ok(last.files <= settled.files + 4, `open files: ${settled.files}, then ${last.files}`);
  t.equal(last.threads, settled.threads, 'threads');
  t.ok(last.storeMiB <= 2 * settled.storeMiB + 8, `store: ${settled.storeMiB}, then ${last.storeMiB} MiB`);
});
