// The thread that writes to the store dies under a service that works.
import type { Worker } from 'node:worker_threads';
import t from 'tap';
import type { Task } from '../../src/tasks/schema.js';
import { eventsOf, startService, until } from '../helpers/world.js';

t.test('when the writing thread dies, the service goes on and every task ends with the truth', async (t) => {
  const threads: Worker[] = [];
  const note = (thread: Worker) => threads.push(thread);
  process.on('worker', note);
  t.teardown(() => process.off('worker', note));
  const world = await startService(t);
  const { sessionId } = await world.session();
  const accepted: string[] = [];
  for (let round = 0; round < 3; round += 1) {
    const running = await world.submit(sessionId, 'run.python', {
      code: 'import time\nfor n in range(100): print(n, flush=True); time.sleep(.005)',
    });
    accepted.push(running.taskId);
    await until(async () => (await world.call<Task>('GET', `/v1/tasks/${running.taskId}`)).body.startedAt);
    const after = (await eventsOf(world, sessionId)).at(-1)!.seq;
    const writer = threads.at(round === 0 ? -2 : -1)!;
    const [, ...submitted] = await Promise.all([
      writer.terminate(),
      ...Array.from({ length: 5 }, (_, index) =>
        world.call('POST', `/v1/sessions/${sessionId}/tasks`, {
          taskId: `task-${round}-${index}`,
          tool: 'echo',
          arguments: { message: 'hi' },
        }),
      ),
    ]);
    for (const [index, { status, body }] of submitted.entries()) {
      if (status === 202) accepted.push(`task-${round}-${index}`);
      else
        t.match(
          { status, body },
          { status: 503, body: { code: 'STORE_UNAVAILABLE', outcome: 'notStarted' } },
        );
    }
    // A reader that waited through it is woken.
    const page = await world.call('GET', `/v1/sessions/${sessionId}/events?after=${after}&wait=30`);
    t.match(page.body, { events: [{ seq: after + 1 }] });
  }
  for (const taskId of accepted) {
    const task = await until(async () => {
      const { body } = await world.call<Task>('GET', `/v1/tasks/${taskId}?wait=30`);
      return body.endedAt && body;
    });
    t.match(task.ending, { cause: /^(exited|finished|interrupted)$/ }, taskId);
  }
  t.match(await world.python(sessionId, 'print(1)'), { status: 'success' });
  t.equal((await world.call('GET', '/readyz')).status, 200);
  const events = await eventsOf(world, sessionId);
  t.same(
    events.map(({ seq }) => seq),
    events.map((_, index) => index + 1),
  );
  for (const taskId of accepted) {
    const own = events.filter((event) => 'taskId' in event && event.taskId === taskId);
    t.equal(own.filter(({ type }) => type === 'task.ended').length, 1);
    t.equal(own.at(-1)?.type, 'task.ended');
  }
  const { body: list } = await world.call<{ items: Task[] }>(
    'GET',
    `/v1/sessions/${sessionId}/tasks?limit=200`,
  );
  t.same(
    list.items.filter(({ endedAt }) => endedAt === null),
    [],
    'nothing is left that nobody runs',
  );
});
