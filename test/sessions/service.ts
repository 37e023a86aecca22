import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import type { Session } from '../../src/sessions/schema.js';
import { SqliteStore } from '../../src/store/sqlite.js';
import type { Task } from '../../src/tasks/schema.js';
import { eventsOf, linesIn, startService, until, type World } from '../helpers/world.js';

const SLEEP = { code: 'import time; time.sleep(60)' };

t.test('sessions', async (t) => {
  const world = await startService(t, { MAX_MEMORY_MB: '1024', MAX_SESSIONS: '20' });

  t.test('a session may have an id of the client’s, once', async (t) => {
    const made = await world.call<Session>('POST', '/v1/sessions', { sessionId: 'my-session.1' });
    t.match(made, { status: 201, body: { sessionId: 'my-session.1', state: 'ready' } });
    t.equal(made.headers.get('location'), '/v1/sessions/my-session.1');
    t.match(await world.call('POST', '/v1/sessions', { sessionId: 'my-session.1' }), {
      status: 409,
      body: { code: 'SESSION_ID_CONFLICT', outcome: 'notStarted' },
    });
  });

  t.test(
    'two creates with one id at the same moment: one wins, and the loser leaves no slot taken',
    async (t) => {
      const before = (await world.call<{ active: number }>('GET', '/v1/capacity')).body.active;
      const both = await Promise.all(
        [1, 2, 3].map(() => world.call('POST', '/v1/sessions', { sessionId: 'raced' })),
      );
      t.same(both.map((reply) => reply.status).sort(), [201, 409, 409]);
      t.equal((await world.call<{ active: number }>('GET', '/v1/capacity')).body.active, before + 1);
    },
  );

  for (const sessionId of ['', '.x', '-x', 'a/b', '../up', 'a b', 'x'.repeat(129), 'é', 'a\u0000b']) {
    t.test(`the id ${JSON.stringify(sessionId.slice(0, 12))} is refused with its rule`, async (t) => {
      t.match(await world.call('POST', '/v1/sessions', { sessionId }), {
        status: 400,
        body: { code: 'VALIDATION_FAILED', errors: [{ where: '/body/sessionId' }] },
      });
    });
  }

  t.test('env is really applied, and only its names are shown', async (t) => {
    const session = await world.session({ env: { GREETING: 'hello', EMPTY: '' } });
    t.same(session.envNames, ['GREETING', 'EMPTY']);
    t.notMatch(JSON.stringify(session), 'hello');
    const task = await world.python(
      session.sessionId,
      'import os; print(os.environ["GREETING"], repr(os.environ["EMPTY"]))',
    );
    t.equal(task.outputs?.stdout, "hello ''\n");
  });

  t.test('what goes beyond the operator’s maximum is refused, not clipped', async (t) => {
    t.match(await world.call('POST', '/v1/sessions', { limits: { memoryMb: 1025 } }), {
      status: 400,
      body: { errors: [{ where: '/body/limits/memoryMb', given: 1025, rule: /at most 1024/ }] },
    });
    t.match(await world.call('POST', '/v1/sessions', { surprise: 1 }), {
      status: 400,
      body: { code: 'VALIDATION_FAILED' },
    });
  });

  t.test('a patch merges labels, and null removes one', async (t) => {
    const { sessionId } = await world.session({ metadata: { a: '1', b: '2' } });
    const patched = await world.call<Session>('PATCH', `/v1/sessions/${sessionId}`, {
      metadata: { b: null, c: '3' },
      idleTimeoutSeconds: null,
      maxLifetimeSeconds: 5000,
    });
    t.same(patched.body.metadata, { a: '1', c: '3' });
    t.match(patched.body, { idleTimeoutSeconds: null, maxLifetimeSeconds: 5000, expiresBecause: 'lifetime' });
    t.match(await world.call('PATCH', `/v1/sessions/${sessionId}`, {}), { status: 400 });
    t.match(await world.call('GET', `/v1/sessions/${sessionId}`), { body: { metadata: { a: '1', c: '3' } } });
  });

  t.test('patches at the same time all count, and no more labels are taken than may be kept', async (t) => {
    const { sessionId } = await world.session();
    const patch = (metadata: Record<string, string>) =>
      world.call('PATCH', `/v1/sessions/${sessionId}`, { metadata });
    await Promise.all(Array.from({ length: 20 }, (_, n) => patch({ [`label${n}`]: 'x' })));
    const { body } = await world.call<Session>('GET', `/v1/sessions/${sessionId}`);
    t.equal(Object.keys(body.metadata).length, 20);
    t.match(await patch(Object.fromEntries(Array.from({ length: 60 }, (_, n) => [`more${n}`, 'x']))), {
      status: 400,
      body: { errors: [{ where: '/body/metadata', rule: /at most 64/ }] },
    });
  });

  t.test('lists come newest first, a page at a time, filtered by state and labels', async (t) => {
    const made: string[] = [];
    for (const n of [1, 2, 3])
      made.unshift((await world.session({ metadata: { list: 'yes', n: String(n) } })).sessionId);
    const first = await world.call<{ items: Session[]; nextCursor: string }>(
      'GET',
      '/v1/sessions?metadata.list=yes&limit=2',
    );
    t.same(
      first.body.items.map((item) => item.sessionId),
      made.slice(0, 2),
    );
    const second = await world.call<{ items: Session[]; nextCursor: null }>(
      'GET',
      `/v1/sessions?metadata.list=yes&limit=2&cursor=${first.body.nextCursor}`,
    );
    t.same(
      second.body.items.map((item) => item.sessionId),
      made.slice(2),
    );
    t.equal(second.body.nextCursor, null);
    await world.call('DELETE', `/v1/sessions/${made[0]}`);
    const over = await world.call<{ items: Session[] }>(
      'GET',
      '/v1/sessions?metadata.list=yes&state=terminated,failed',
    );
    t.same(
      over.body.items.map((item) => item.sessionId),
      made.slice(0, 1),
    );
    const later = await world.call<{ items: Session[] }>(
      'GET',
      `/v1/sessions?createdAfter=${new Date(Date.now() + 1000).toISOString()}`,
    );
    t.same(later.body.items, []);
    for (const query of [
      'limit=0',
      'limit=201',
      'cursor=nonsense',
      'state=nosuch',
      'createdAfter=now',
      'other=1',
    ]) {
      t.match(
        await world.call('GET', `/v1/sessions?${query}`),
        { status: 400, body: { code: 'VALIDATION_FAILED' } },
        query,
      );
    }
  });

  t.test('every change of state is an event with a reason', async (t) => {
    const { sessionId } = await world.session();
    await world.run(sessionId, 'echo', { message: 'x' });
    await world.call('DELETE', `/v1/sessions/${sessionId}`);
    const changes = (await eventsOf(world, sessionId)).filter((event) => event.type === 'session.state');
    t.same(
      changes.map(({ data }) => [data.from, data.to, data.reason]),
      [
        [null, 'creating', 'created'],
        ['creating', 'ready', 'created'],
        ['ready', 'active', 'taskStarted'],
        ['active', 'ready', 'tasksEnded'],
        ['ready', 'terminating', 'deleted'],
        ['terminating', 'terminated', 'deleted'],
      ],
    );
  });

  t.test(
    'a session with work is not deleted unless forced; then its tasks end as sessionEnded',
    async (t) => {
      const { sessionId } = await world.session();
      const running = await world.submit(sessionId, 'run.python', SLEEP);
      const queued = await world.submit(sessionId, 'run.python', SLEEP);
      t.match(await world.call('DELETE', `/v1/sessions/${sessionId}`), {
        status: 409,
        body: { code: 'SESSION_BUSY' },
      });
      const ended = await world.call('DELETE', `/v1/sessions/${sessionId}?force=true`);
      t.match(ended, {
        status: 200,
        body: { state: 'terminated', stateReason: 'deleted', queuedTasks: 0, runningTasks: 0 },
      });
      for (const { taskId } of [running, queued]) {
        t.match(await world.call('GET', `/v1/tasks/${taskId}`), {
          body: { status: 'cancelled', ending: { cause: 'sessionEnded' } },
        });
      }
      const events = await eventsOf(world, sessionId);
      t.match(events.at(-1), { type: 'session.state', data: { to: 'terminated' } });
      t.same(
        events.map((event) => event.seq),
        events.map((_, index) => index + 1),
        'no holes',
      );
      t.match(
        await world.call('POST', `/v1/sessions/${sessionId}/tasks`, {
          tool: 'echo',
          arguments: { message: 'x' },
        }),
        {
          status: 409,
          body: { code: 'SESSION_ENDED' },
        },
      );
      t.same(
        (await world.call('DELETE', `/v1/sessions/${sessionId}`)).body,
        ended.body,
        'a second delete answers the same',
      );
    },
  );

  t.test('DELETE ?checkpoint=true answers with the checkpoint it took', async (t) => {
    const { sessionId } = await world.session();
    await world.writeFile(sessionId, 'kept.txt', 'kept');
    const ended = await world.call<Session>('DELETE', `/v1/sessions/${sessionId}?checkpoint=true`);
    t.equal(ended.status, 200);
    t.match(ended.body, { state: 'terminated', checkpointId: /^ckp_/ });
    const copy = await world.session({ checkpointId: ended.body.checkpointId });
    t.equal(copy.restoredFrom, ended.body.checkpointId);
    t.equal(await world.readFile(copy.sessionId, 'kept.txt'), 'kept');
  });

  t.test('a delete that asks for a checkpoint is refused when the end came first, without one', async (t) => {
    const { sessionId } = await world.session();
    const path = `/v1/sessions/${sessionId}`;
    const first = world.call('DELETE', path);
    await until(async () => (await world.call<Session>('GET', path)).body.state.startsWith('terminat'));
    const refused = { status: 409, body: { code: 'SESSION_ENDED', detail: /is terminat/ } };
    t.match(await world.call('DELETE', `${path}?checkpoint=true`), refused, 'while it ends, or just after');
    t.match(await first, { status: 200, body: { state: 'terminated', checkpointId: null } });
    t.match(await world.call('DELETE', `${path}?checkpoint=true`), refused);

    const other = `/v1/sessions/${(await world.session()).sessionId}?checkpoint=true`;
    const both = await Promise.all([world.call('DELETE', other), world.call('DELETE', other)]);
    t.match(both[0], { status: 200, body: { checkpointId: /^ckp_/ } });
    t.same(both[1].body, both[0].body, 'one checkpoint, and both are told');
  });

  t.test('an idle session expires with a checkpoint, and says why', async (t) => {
    const { sessionId } = await world.session({ idleTimeoutSeconds: 10 });
    await world.writeFile(sessionId, 'kept.txt', 'kept');
    await until(async () =>
      (await eventsOf(world, sessionId)).find((event) => event.type === 'session.expiring'),
    );
    await world.call('PATCH', `/v1/sessions/${sessionId}`, { idleTimeoutSeconds: 1 });
    const over = await until(async () => {
      const { body } = await world.call<Session>('GET', `/v1/sessions/${sessionId}`);
      return body.state === 'terminated' ? body : undefined;
    });
    t.match(over, { stateReason: 'idle', lastCheckpointId: /^ckp_/ });
  });

  t.test('after its lifetime a session takes no tasks, though its end is held up', async (t) => {
    const { sessionId } = await world.session({ maxLifetimeSeconds: 4, limits: { diskMb: 16 } });
    const sparse = 'for n in range(5): open(f"sparse{n}", "wb").truncate(15 << 20)';
    t.match(await world.python(sessionId, sparse), { status: 'success' });
    await until(async () => {
      const { body } = await world.call<Session>('GET', `/v1/sessions/${sessionId}`);
      return body.stateReason === 'checkpointFailed';
    });
    const task = { tool: 'run.python', arguments: { code: 'print(1)' } };
    t.match(await world.call('POST', `/v1/sessions/${sessionId}/tasks`, task), {
      status: 409,
      body: { code: 'SESSION_ENDED', detail: /at the end of its lifetime/ },
    });
    const events = await eventsOf(world, sessionId);
    t.ok(events.filter(({ type }) => type === 'session.expiring').length <= 2, 'told once for each warning');
    await world.call('DELETE', `/v1/sessions/${sessionId}?force=true`);
  });

  t.test('the lifetime ends a session that works; its task ends as sessionEnded', async (t) => {
    const { sessionId } = await world.session({ maxLifetimeSeconds: 1, checkpointOnExpiry: false });
    const { taskId } = await world.submit(sessionId, 'run.python', SLEEP);
    const ended = await until(async () => {
      const { body } = await world.call<Task>('GET', `/v1/tasks/${taskId}?wait=5`);
      return body.endedAt ? body : undefined;
    });
    t.match(ended, { status: 'cancelled', ending: { cause: 'sessionEnded' } });
    const over = await until(async () => {
      const { body } = await world.call<Session>('GET', `/v1/sessions/${sessionId}`);
      return body.state === 'terminated' ? body : undefined;
    });
    t.match(over, { stateReason: 'lifetime', lastCheckpointId: null });
  });

  t.test('HEAD takes no reader’s place on a stream', async (t) => {
    const { sessionId } = await world.session();
    const head = await fetch(`${world.url}/v1/sessions/${sessionId}/events`, {
      method: 'HEAD',
      headers: { accept: 'text/event-stream' },
    });
    t.equal(head.status, 405);
  });

  t.test('what does not exist is not found', async (t) => {
    for (const [method, path] of [
      ['GET', '/v1/sessions/nosuch'],
      ['PATCH', '/v1/sessions/nosuch'],
      ['DELETE', '/v1/sessions/nosuch'],
      ['GET', '/v1/sessions/nosuch/tasks'],
      ['GET', '/v1/sessions/nosuch/events'],
    ] as const) {
      const body = method === 'PATCH' ? { metadata: {} } : undefined;
      t.match(
        await world.call(method, path, body),
        { status: 404, body: { code: 'SESSION_NOT_FOUND' } },
        path,
      );
    }
  });
});

t.test('a restart brings sessions back with their files, and their tasks to the truth', async (t) => {
  const world = await startService(t);
  const { sessionId } = await world.session({ env: { KEPT: 'yes' } });
  await world.writeFile(sessionId, 'kept.txt', 'kept');
  const running = await world.submit(sessionId, 'run.python', {
    code: 'import time; print("said before", flush=True); time.sleep(60)',
  });
  const queued = await world.submit(sessionId, 'run.python', {
    code: 'import os; print(os.environ["KEPT"])',
  });
  await until(async () => linesIn(await eventsOf(world, sessionId)) > 0);
  await world.restart();
  t.match(await world.call('GET', `/v1/tasks/${running.taskId}`), {
    body: { status: 'failure', ending: { cause: 'interrupted' }, outputs: { stdout: 'said before\n' } },
  });
  t.match(await world.call('GET', `/v1/tasks/${queued.taskId}?wait=20`), {
    body: { status: 'success', outputs: { stdout: 'yes\n' } },
  });
  t.equal(await world.readFile(sessionId, 'kept.txt'), 'kept');
  const events = await eventsOf(world, sessionId);
  t.same(
    events.map((event) => event.seq),
    events.map((_, index) => index + 1),
    'numbering goes on without a hole',
  );
  t.equal(events.filter((event) => event.type === 'task.ended' && event.taskId === running.taskId).length, 1);
});

t.test('after a restart at another level the record says the level that stands now', async (t) => {
  const settings: Record<string, string> = { ISOLATION_MAX: 'oneshot' };
  const world = await startService(t, settings);
  const { sessionId, isolation } = await world.session();
  t.equal(isolation, 'oneshot');
  await world.restart(async () => {
    settings.ISOLATION_MAX = 'full';
  });
  const { body: now } = await world.call<{ level: string }>('GET', '/v1/isolation');
  t.match(await world.call('GET', `/v1/sessions/${sessionId}`), { body: { isolation: now.level } });
  t.match(await world.call('GET', '/v1/sessions'), { body: { items: [{ isolation: now.level }] } });
  t.match(await world.python(sessionId, 'print(1)'), { status: 'success' });
});

t.test('a delete whose checkpoint fails leaves the session and its files', async (t) => {
  const world = await startService(t);
  const { sessionId } = await world.session();
  await world.writeFile(sessionId, 'kept.txt', 'kept');
  const checkpoints = join(world.dataDir, 'checkpoints');
  await rm(checkpoints, { recursive: true });
  await writeFile(checkpoints, 'in the way');
  t.equal((await world.call('DELETE', `/v1/sessions/${sessionId}?checkpoint=true`)).status, 500);
  t.match(await world.call('GET', `/v1/sessions/${sessionId}`), {
    body: { state: 'ready', stateReason: 'checkpointFailed' },
  });
  t.equal(await world.readFile(sessionId, 'kept.txt'), 'kept');
  await rm(checkpoints);
  await mkdir(checkpoints);
  t.match(await world.call('DELETE', `/v1/sessions/${sessionId}?checkpoint=true`), {
    status: 200,
    body: { state: 'terminated', checkpointId: /^ckp_/ },
  });
});

/** Ends that a crash cut off are finished while the service answers already. */
const whenTerminated = (world: World, sessionId: string) =>
  until(async () => {
    const { body } = await world.call<Session>('GET', `/v1/sessions/${sessionId}`);
    return body.state === 'terminated';
  });

t.test('an end that a crash cut off after its checkpoint takes no other, of what was left', async (t) => {
  const world = await startService(t);
  const { sessionId } = await world.session();
  await world.writeFile(sessionId, 'kept.txt', 'kept');
  const path = `/v1/sessions/${sessionId}/checkpoints`;
  const taken = await world.call<{ checkpointId: string }>('POST', path, { name: 'deleted' });
  await world.restart(async () => {
    const store = new SqliteStore({ directory: world.dataDir });
    await store.start();
    const event = (type: string, data: object) => [
      { sql: 'update sessions set last_seq = last_seq + 1', parameters: [] },
      {
        sql: 'insert into events (session, seq, time, type, data) select id, last_seq, 0, ?, ? from sessions',
        parameters: [type, JSON.stringify(data)],
      },
    ];
    const state = "state = 'terminating', state_reason = 'deleted', end_checkpoint = 'deleted'";
    await store.write([
      ...event('session.state', { from: 'ready', to: 'terminating', reason: 'deleted' }),
      { sql: `update sessions set ${state}`, parameters: [] },
      ...event('checkpoint.created', { name: 'deleted' }),
    ]);
    await store.close();
  });
  await whenTerminated(world, sessionId);
  t.match(await world.call('GET', `/v1/sessions/${sessionId}`), {
    body: { state: 'terminated', stateReason: 'deleted', checkpointId: taken.body.checkpointId },
  });
  t.match(await world.call('GET', path), { body: { items: { length: 1 } } });
});

t.test('an end that a crash cut off while it removed the workspace is an end like any other', async (t) => {
  const world = await startService(t);
  const { sessionId } = await world.session();
  const workspaces = join(world.dataDir, 'sandboxes', 'workspaces');
  let id = '';
  await world.restart(async () => {
    const store = new SqliteStore({ directory: world.dataDir });
    await store.start();
    const state = "state = 'terminating', state_reason = 'idle'";
    await store.write([{ sql: `update sessions set ${state}`, parameters: [] }]);
    id = (await store.query.selectFrom('sessions').select('id').executeTakeFirstOrThrow()).id;
    await store.close();
    await rm(join(workspaces, id, 'workspace'), { recursive: true });
  });
  await whenTerminated(world, sessionId);
  t.match(await world.call('GET', `/v1/sessions/${sessionId}`), {
    body: { state: 'terminated', stateReason: 'idle' },
  });
  t.match((await eventsOf(world, sessionId)).at(-1), {
    type: 'session.state',
    data: { from: 'terminating', to: 'terminated', reason: 'idle' },
  });
  t.notOk(existsSync(join(workspaces, id)), 'nothing of it is left');
});

t.test('a session that cannot be attached at the start is kept with its files and tasks', async (t) => {
  const world = await startService(t);
  const [first, second, third] = await Promise.all([world.session(), world.session(), world.session()]);
  const workspaces = join(world.dataDir, 'sandboxes', 'workspaces');
  const blocked = new Map<string, () => Promise<void>>();
  for (const { sessionId } of [first, second, third]) await world.writeFile(sessionId, 'kept.txt', 'kept');
  const running = await world.start(first.sessionId, 'run.python', SLEEP);
  const queued = await world.submit(first.sessionId, 'run.python', {
    code: 'print(open("kept.txt").read())',
  });
  await world.start(third.sessionId, 'run.python', SLEEP);
  const given = await world.submit(third.sessionId, 'run.python', SLEEP);
  await world.restart(async () => {
    const store = new SqliteStore({ directory: world.dataDir });
    await store.start();
    const rows = await store.query.selectFrom('sessions').select(['id', 'session_id']).execute();
    await store.close();
    for (const { id, session_id } of rows) {
      const path = join(workspaces, id, 'workspace');
      await rename(path, `${path}-aside`);
      await writeFile(path, 'in the way');
      blocked.set(session_id, async () => {
        await rm(path);
        await rename(`${path}-aside`, path);
      });
    }
  });
  // A second start removes nothing either.
  await world.restart();
  for (const { sessionId } of [first, second, third]) {
    t.match(await world.call('GET', `/v1/sessions/${sessionId}`), {
      body: { state: /^(ready|running)$/, stateReason: 'notAttached' },
    });
    t.match(await world.call('DELETE', `/v1/sessions/${sessionId}`), {
      status: 503,
      body: { code: 'SESSION_DETACHED', retryable: true, outcome: 'notStarted' },
    });
  }
  t.match(await world.call('GET', `/v1/tasks/${running.taskId}`), {
    body: { ending: { cause: 'interrupted' } },
  });
  t.match(await world.call('GET', `/v1/tasks/${queued.taskId}`), { body: { status: 'queued' } });
  t.match(await world.call('POST', `/v1/tasks/${queued.taskId}/cancel`, {}), { status: 503 });
  const task = { tool: 'run.python', arguments: { code: 'print(1)' } };
  const refused = await world.call('POST', `/v1/sessions/${second.sessionId}/tasks`, task);
  t.match(refused, { status: 503, body: { code: 'SESSION_DETACHED' } });
  t.match(await world.call('GET', '/v1/capacity'), { body: { active: 3 } });

  await blocked.get(first.sessionId)!();
  t.match(await world.call('GET', `/v1/tasks/${queued.taskId}?wait=60`), {
    body: { status: 'success', outputs: { stdout: 'kept\n' } },
  });
  await blocked.get(second.sessionId)!();
  t.equal(await world.readFile(second.sessionId, 'kept.txt'), 'kept', 'a request attaches it');
  await blocked.get(third.sessionId)!();
  t.match(await world.call('DELETE', `/v1/sessions/${third.sessionId}?force=true`), {
    body: { state: 'terminated' },
  });
  t.match(await world.call('GET', `/v1/tasks/${given.taskId}`), { body: { status: 'cancelled' } });
});

t.test('a session whose disk can never be attached again may be given up by force', async (t) => {
  const world = await startService(t);
  const { sessionId } = await world.session();
  await world.start(sessionId, 'run.python', SLEEP);
  const queued = await world.submit(sessionId, 'run.python', SLEEP);
  const workspaces = join(world.dataDir, 'sandboxes', 'workspaces');
  const images = (await readdir(workspaces)).map((id) => join(workspaces, id, 'disk.img')).filter(existsSync);
  if (images.length === 0) return t.comment('workspaces are no disk images here');
  await world.restart(async () => {
    for (const image of images) await writeFile(image, 'no file system');
  });
  t.match(await world.call('DELETE', `/v1/sessions/${sessionId}`), { status: 503 });
  t.match(await world.call('DELETE', `/v1/sessions/${sessionId}?force=true&checkpoint=true`), {
    status: 503,
  });
  t.match(await world.call('DELETE', `/v1/sessions/${sessionId}?force=true`), {
    status: 200,
    body: { state: 'terminated', stateReason: 'deleted' },
  });
  t.match(await world.call('GET', `/v1/tasks/${queued.taskId}`), {
    body: { status: 'cancelled', ending: { cause: 'sessionEnded' } },
  });
  t.same(images.filter(existsSync), [], 'its files are gone');
  t.match(await world.call('GET', '/v1/capacity'), { body: { active: 0 } });
});

t.test('a session whose workspace is lost fails, after its tasks ended with the truth', async (t) => {
  const world = await startService(t);
  const { sessionId } = await world.session();
  const running = await world.start(sessionId, 'run.python', SLEEP);
  const queued = await world.submit(sessionId, 'run.python', SLEEP);
  await world.restart(() => rm(join(world.dataDir, 'sandboxes', 'workspaces'), { recursive: true }));
  t.match(await world.call('GET', `/v1/sessions/${sessionId}`), {
    body: { state: 'failed', stateReason: 'workspaceLost' },
  });
  t.match(await world.call('GET', `/v1/tasks/${running.taskId}`), {
    body: { ending: { cause: 'interrupted' } },
  });
  t.match(await world.call('GET', `/v1/tasks/${queued.taskId}`), {
    body: { ending: { cause: 'sessionEnded' } },
  });
  t.match((await eventsOf(world, sessionId)).at(-1), { type: 'session.state', data: { to: 'failed' } });
});
