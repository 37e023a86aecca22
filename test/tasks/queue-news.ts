import t from 'tap';
import type { Journal } from '../../src/events/journal.js';
import type { LiveSession } from '../../src/sessions/live-session.js';
import type { TaskRow } from '../../src/store/schema.js';
import { Lane } from '../../src/tasks/lane.js';
import { LiveTask, type LiveTaskFacts } from '../../src/tasks/live-task.js';
import { Places } from '../../src/tasks/places.js';
import { QueueNews } from '../../src/tasks/queue-news.js';
import type { Tool } from '../../src/tools/tool.js';
import { silent } from '../helpers/store.js';

interface News {
  readonly type: string;
  readonly taskId: string;
  readonly data: { readonly queuePosition: number };
}

t.test(
  'of a long queue the places 1, 2, 4, 8 are told, and each task not again for five seconds',
  async (t) => {
    const told: News[] = [];
    const journal = {
      append: async (_session: unknown, events: readonly News[]) => told.push(...events),
    } as unknown as Journal;
    // Whole, so that adding to it is exact.
    let now = Math.ceil(performance.now());
    const news = new QueueNews({ journal, log: silent, clock: () => now });
    const lane = new Lane({ concurrency: 1, places: new Places({ total: 1, perTenant: 1 }), tenant: 't' });
    const session = { lane, row: { id: 'i', session_id: 's' } } as LiveSession;
    lane.hold();
    const tasks = Array.from(
      { length: 10 },
      (_, n) =>
        new LiveTask(
          { taskId: `t${n + 1}` } as LiveTaskFacts,
          {} as TaskRow,
          session,
          {} as Tool,
          () => new Promise(() => {}),
        ),
    );
    for (const task of tasks) lane.add(task);

    news.moved(session);
    t.same(told, [], 'they have just come');
    now += 10_000;
    news.moved(session);
    t.strictSame(
      told.splice(0).map(({ type, taskId, data }) => [type, taskId, data.queuePosition]),
      [1, 2, 4, 8].map((position) => ['task.waiting', `t${position}`, position]),
    );
    lane.remove(tasks[0]!);
    news.moved(session);
    t.strictSame(
      told.splice(0).map(({ taskId, data }) => [taskId, data]),
      [
        ['t3', { queuePosition: 2 }],
        ['t5', { queuePosition: 4 }],
        ['t9', { queuePosition: 8 }],
      ],
      't2 was told a moment ago; nothing has ended, so nobody can say how long',
    );
    now += 5000;
    news.moved(session);
    t.equal(told[0]!.taskId, 't2');
  },
);
