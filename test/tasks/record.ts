import t from 'tap';
import { taskRecord } from '../../src/tasks/record.js';
import { sessionRow, taskRow } from '../helpers/store.js';

const at = (epochMs: number) => new Date(epochMs).toISOString();

t.test('a clock that was put back shows no task that ended before it began', async (t) => {
  const row = taskRow(sessionRow(), { created_at: 3000, started_at: 2000, ended_at: 1000 });
  t.match(taskRecord(row, 's'), { createdAt: at(3000), startedAt: at(3000), endedAt: at(3000) });
  t.match(taskRecord({ ...row, started_at: 4000 }, 's'), { startedAt: at(4000), endedAt: at(4000) });
  t.match(taskRecord({ ...row, started_at: null, ended_at: null }, 's'), { startedAt: null, endedAt: null });
});
