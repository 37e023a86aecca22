// A store as it is after a long time: sessions with tasks that printed, written past the service for speed.
import { join } from 'node:path';
import { openDatabase } from '../../src/store/database.js';
import { sessionRow, taskRow } from './store.js';

export interface LargeStore {
  readonly sessions: number;
  readonly tasksOfEach: number;
  readonly eventsOfEach: number;
}

export const sessionName = (n: number) => `ses_large${String(n).padStart(20, '0')}`;
export const taskName = (session: number, n: number) =>
  `tsk_large${String(session).padStart(9, '0')}-${String(n).padStart(10, '0')}`;

/** Fills the tables of a store that was made, and is closed. The last session is one that lives; in each the first
 *  task prints all the time, beside the others. */
export function fillStore(directory: string, { sessions, tasksOfEach, eventsOfEach }: LargeStore): void {
  const db = openDatabase(join(directory, 'store.db'));
  db.exec('pragma synchronous = off; pragma cache_size = -262144');
  const insert = (table: string, row: object) => {
    const columns = Object.keys(row);
    const sql = `insert into ${table} (${columns.join()}) values (${columns.map(() => '?').join()})`;
    return { statement: db.prepare(sql), columns };
  };
  const event = db.prepare('insert into events values (?, ?, ?, ?, ?, ?)');
  const output = db.prepare('insert into output values (?, ?, ?, ?, ?, ?)');
  const bytes = Buffer.alloc(60, 'x');
  for (let n = 0; n < sessions; n += 1) {
    const id = sessionName(n);
    const isLast = n === sessions - 1;
    const session = sessionRow({
      id,
      session_id: id,
      created_at: n,
      state: isLast ? 'ready' : 'terminated',
      ended_at: isLast ? null : n,
      last_seq: eventsOfEach,
      metadata: JSON.stringify({ team: n % 100 }),
    });
    db.exec('begin');
    const sessionInsert = insert('sessions', session);
    sessionInsert.statement.run(Object.values(session));
    const tasks = Array.from({ length: tasksOfEach }, (_, index) =>
      taskRow(session, {
        id: taskName(n, index),
        task_id: taskName(n, index),
        created_at: index,
        ended_at: 1,
        status: index % 100 === 7 ? 'failure' : 'success',
        first_seq: index + 1,
        last_seq: eventsOfEach,
        metadata: JSON.stringify({ n: String(index % 100) }),
      }),
    );
    const taskInsert = insert('tasks', tasks[0]!);
    for (const task of tasks) taskInsert.statement.run(Object.values(task));
    for (let seq = 1; seq <= eventsOfEach; seq += 1) {
      // One event in a hundred is of another task than the loud one.
      const task = taskName(n, seq % 100 === 0 ? (seq / 100) % tasksOfEach : 0);
      const offset = seq * bytes.length;
      event.run([id, seq, seq, task, 'task.output', `{"stream":"stdout","offset":${offset},"length":60}`]);
      output.run([id, seq, task, 'stdout', offset, bytes]);
    }
    db.exec('commit');
  }
  db.exec('pragma wal_checkpoint(truncate)');
  db.close();
}
