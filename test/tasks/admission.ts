import t from 'tap';
import type { Capacity } from '../../src/sessions/schema.js';
import type { Task } from '../../src/tasks/schema.js';
import { startService, until, type World } from '../helpers/world.js';

const until_ = (file: string) => ({
  code: `import os, time
while not os.path.exists('${file}'): time.sleep(.01)`,
});
const echo = { message: 'x' };

const capacity = async (world: World) => (await world.call<Capacity>('GET', '/v1/capacity')).body;
const openGate = (world: World, sessionId: string) =>
  world.run(sessionId, 'run.command', { command: ['touch', 'go'] }, { background: true });

t.test('one place for the whole service', async (t) => {
  const world = await startService(t, {
    MAX_RUNNING_TASKS: '1',
    MAX_QUEUED_TASKS: '4',
    MAX_TENANT_QUEUED_TASKS: '5',
    MAX_TOTAL_QUEUED_TASKS: '5',
  });
  const [busy, other] = [await world.session(), await world.session()];

  t.test('an idle service says that a task would not wait', async (t) => {
    const body = await capacity(world);
    t.match(body, { queuedTasks: 0, runningTasks: 0, estimatedWaitMs: 0 });
    t.same(body.queues.service, { running: 0, maxRunning: 1, queued: 0, maxQueued: 5 });
  });

  t.test('sessions take turns for it, and each task says where it stands', async (t) => {
    await world.run(busy.sessionId, 'echo', echo);
    const first = await world.submit(busy.sessionId, 'run.python', until_('go'));
    const [second, third] = [
      await world.submit(busy.sessionId, 'echo', echo),
      await world.submit(busy.sessionId, 'echo', echo),
    ];
    const fromOther = await world.submit(other.sessionId, 'echo', echo);
    t.equal(first.queuePosition, undefined);
    t.equal(third.queuePosition, 2);
    t.ok(third.estimatedWaitMs! >= second.estimatedWaitMs!);
    t.equal(fromOther.queuePosition, 1);
    t.ok(fromOther.estimatedWaitMs! > 0, 'its session is idle and the service is not');
    t.match(await world.call('GET', `/v1/tasks/${third.taskId}`), { body: { queuePosition: 2 } });
    const body = await capacity(world);
    t.match(body.queues, { service: { running: 1, queued: 3 }, tenant: { running: 1, queued: 3 } });
    t.ok(body.estimatedWaitMs! > 0);

    await openGate(world, busy.sessionId);
    const ended: Task[] = [];
    for (const { taskId } of [second, third, fromOther]) {
      ended.push((await world.call<Task>('GET', `/v1/tasks/${taskId}?wait=30`)).body);
    }
    t.ok(ended[2]!.startedAt! <= ended[0]!.startedAt!, 'the other session was there before its second task');
    t.ok(ended[0]!.startedAt! <= ended[1]!.startedAt!);
    t.equal(ended[0]!.queuePosition, undefined);
    t.match((await capacity(world)).queues.service, { running: 0, queued: 0 });
  });

  t.test(
    'a full queue of the session is a 429 whose Retry-After follows the pace of the tasks',
    async (t) => {
      const { sessionId } = await world.session();
      const begun = performance.now();
      await world.python(sessionId, 'import time; time.sleep(1.2)');
      const tookSeconds = (performance.now() - begun) / 1000;
      const running = await world.submit(sessionId, 'run.python', until_('go'));
      for (let n = 0; n < 4; n += 1) await world.submit(sessionId, 'echo', echo);
      const refused = await world.call('POST', `/v1/sessions/${sessionId}/tasks`, {
        tool: 'echo',
        arguments: echo,
      });
      t.match(refused, {
        status: 429,
        body: { code: 'TOO_MANY_TASKS', detail: /session already has 4 queued/ },
      });
      const retryAfter = Number(refused.headers.get('retry-after'));
      t.ok(
        retryAfter >= 2 && retryAfter <= Math.ceil(tookSeconds),
        `${retryAfter} where a task took ${tookSeconds}`,
      );

      await world.submit(other.sessionId, 'echo', echo);
      const atTenant = await world.call('POST', `/v1/sessions/${other.sessionId}/tasks`, {
        tool: 'echo',
        arguments: echo,
      });
      t.match(atTenant, {
        status: 429,
        body: { code: 'TOO_MANY_TASKS', detail: /tenant already has 5 queued/ },
      });
      t.match(await world.submit(other.sessionId, 'echo', echo, { background: true }), { status: 'queued' });
      await world.call('POST', `/v1/tasks/${running.taskId}/cancel`);
      await until(async () => (await capacity(world)).queuedTasks === 0);
    },
  );
});

t.test('when the whole service is full a submission is a 503 with Retry-After', async (t) => {
  const world = await startService(t, { MAX_RUNNING_TASKS: '1', MAX_TOTAL_QUEUED_TASKS: '1' });
  const { sessionId } = await world.session();
  await world.submit(sessionId, 'run.python', until_('go'));
  await world.submit(sessionId, 'echo', echo);
  const idle = await world.session();
  const refused = await world.call('POST', `/v1/sessions/${idle.sessionId}/tasks`, {
    tool: 'echo',
    arguments: echo,
  });
  t.match(refused, {
    status: 503,
    body: {
      code: 'CAPACITY_EXCEEDED',
      retryable: true,
      outcome: 'notStarted',
      detail: /1 tasks wait already/,
    },
  });
  const seconds = Number(refused.headers.get('retry-after'));
  t.ok(seconds >= 1 && seconds <= 60);
  t.equal((await capacity(world)).estimatedWaitMs, undefined, 'nothing has ended yet');
  await world.call('DELETE', `/v1/sessions/${sessionId}?force=true`);
  t.match(await world.run(idle.sessionId, 'echo', echo), { status: 'success' });
});

t.test('arguments in memory have a bound: more is a 503, and one alone is always let in', async (t) => {
  const world = await startService(t, { MAX_TASK_ARGUMENT_BYTES: '10000' });
  const { sessionId } = await world.session();
  const submit = (length: number, background = false) =>
    world.call<Task>('POST', `/v1/sessions/${sessionId}/tasks`, {
      tool: 'echo',
      arguments: { message: 'x'.repeat(length) },
      background,
    });
  const running = await world.submit(sessionId, 'run.python', until_('go'));
  t.equal((await submit(6000)).status, 202);
  for (const background of [false, true]) {
    const refused = await submit(6000, background);
    t.match(refused, { status: 503, body: { code: 'CAPACITY_EXCEEDED', detail: /6014 bytes.* 10000/ } });
    t.ok(Number(refused.headers.get('retry-after')) >= 1);
  }
  t.equal((await submit(1000)).status, 202, 'a small one has room');
  await world.call('POST', `/v1/tasks/${running.taskId}/cancel`);
  // Arguments count until their task has ended, and not only until it starts.
  await until(async () => {
    const { queuedTasks, runningTasks } = await capacity(world);
    return queuedTasks === 0 && runningTasks === 0;
  });
  t.equal((await world.run(sessionId, 'echo', { message: 'x'.repeat(20_000) })).status, 'success');
});

t.test(
  'five hundred clients at full lanes: each is told yes or when, and all that was taken ends',
  async (t) => {
    const world = await startService(t, { MAX_RUNNING_TASKS: '2', MAX_TOTAL_QUEUED_TASKS: '40' });
    const sessions = await Promise.all(Array.from({ length: 10 }, () => world.session()));
    const replies = await Promise.all(
      Array.from({ length: 500 }, (_, n) =>
        world.call<Task>('POST', `/v1/sessions/${sessions[n % 10]!.sessionId}/tasks`, {
          tool: 'echo',
          arguments: echo,
        }),
      ),
    );
    const taken = replies.filter(({ status }) => status === 202);
    for (const { status, headers } of replies) {
      t.ok(status === 202 || (status === 503 && Number(headers.get('retry-after')) >= 1), `${status}`);
    }
    for (const { body } of taken) {
      t.match(await world.call('GET', `/v1/tasks/${body.taskId}?wait=30`), { body: { status: 'success' } });
    }
    t.match((await capacity(world)).queues.service, { running: 0, queued: 0 });
  },
);
