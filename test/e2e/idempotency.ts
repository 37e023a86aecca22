// Every mutation of the API under an Idempotency-Key. What there is comes from the OpenAPI document: a mutation that has
// no row here fails the test, so none is forgotten.
import t from 'tap';
import { SqliteStore } from '../../src/store/sqlite.js';
import type { Task } from '../../src/tasks/schema.js';
import { eventsOf, startService, until, type World } from '../helpers/world.js';

interface Prepared {
  readonly path: string;
  readonly body?: unknown;
  /** Sent as application/octet-stream instead of JSON. */
  readonly bytes?: string;
  /** The same call asking for something else. */
  readonly other: { readonly path?: string; readonly body?: unknown; readonly bytes?: string };
  readonly status: number;
  /** How often the work was done. Where that cannot be seen, a second time would not get the same reply. */
  readonly done?: () => Promise<number>;
  readonly cleanUp?: () => Promise<unknown>;
}

const sleeps = { tool: 'run.python', arguments: { code: 'import time; time.sleep(600)' } };

async function count(world: World, path: string): Promise<number> {
  return (await world.call<{ items: unknown[] }>('GET', path)).body.items.length;
}

async function checkpointed(world: World) {
  const { sessionId } = await world.session();
  const { body } = await world.call('POST', `/v1/sessions/${sessionId}/checkpoints`, {});
  return { sessionId, checkpointId: String(body.checkpointId) };
}

const end = (world: World, sessionId: string) => world.call('DELETE', `/v1/sessions/${sessionId}?force=true`);

/** By operationId; each call makes what it needs anew. */
const MUTATIONS: Record<string, (world: World, mark: string) => Promise<Prepared>> = {
  createSession: async (world, mark) => ({
    path: '/v1/sessions',
    body: { metadata: { mark } },
    other: { body: { metadata: { mark: 'other' } } },
    status: 201,
    done: () => count(world, `/v1/sessions?metadata.mark=${mark}`),
  }),
  patchSession: async (world) => {
    const { sessionId } = await world.session();
    return {
      path: `/v1/sessions/${sessionId}`,
      body: { metadata: { a: '1' } },
      other: { body: { metadata: { a: '2' } } },
      status: 200,
    };
  },
  createToken: async (world) => {
    const { sessionId } = await world.session();
    return {
      path: `/v1/sessions/${sessionId}/tokens`,
      body: { ttlSeconds: 60 },
      other: { body: { ttlSeconds: 61 } },
      status: 201,
    };
  },
  deleteSession: async (world) => {
    const { sessionId } = await world.session();
    return {
      path: `/v1/sessions/${sessionId}`,
      other: { path: `/v1/sessions/${sessionId}?force=true` },
      status: 200,
      done: async () =>
        (await eventsOf(world, sessionId)).filter(
          (event) => event.type === 'session.state' && event.data.to === 'terminated',
        ).length,
    };
  },
  submitTask: async (world) => {
    const { sessionId } = await world.session();
    return {
      path: `/v1/sessions/${sessionId}/tasks`,
      body: sleeps,
      other: { body: { ...sleeps, background: true } },
      status: 202,
      done: () => count(world, `/v1/sessions/${sessionId}/tasks`),
      cleanUp: () => end(world, sessionId),
    };
  },
  cancelTask: async (world) => {
    const { sessionId } = await world.session();
    const { taskId } = await world.submit(sessionId, sleeps.tool, sleeps.arguments);
    return {
      path: `/v1/tasks/${taskId}/cancel`,
      body: { reason: 'enough' },
      other: { body: { reason: 'too much' } },
      status: 200,
    };
  },
  writeTaskStdin: async (world) => {
    const { sessionId } = await world.session();
    const { taskId } = await world.submit(sessionId, 'run.python', {
      code: 'import sys\nprint("up", flush=True)\nfor line in sys.stdin: print("line", flush=True)',
      stdinOpen: true,
    });
    const said = async (text: string) => {
      const reply = await fetch(`${world.url}/v1/tasks/${taskId}/output/stdout`);
      return (await reply.text()).split('\n').filter((line) => line === text).length;
    };
    await until(() => said('up'));
    return {
      path: `/v1/tasks/${taskId}/stdin`,
      bytes: 'once\n',
      other: { bytes: 'twice\n' },
      status: 204,
      // Another line, without a key, comes after all that were sent before.
      done: async () => {
        await fetch(`${world.url}/v1/tasks/${taskId}/stdin?close=true`, {
          method: 'POST',
          headers: { 'content-type': 'application/octet-stream' },
          body: 'last\n',
        });
        await world.call('GET', `/v1/tasks/${taskId}?wait=60`);
        return (await said('line')) - 1;
      },
      cleanUp: () => end(world, sessionId),
    };
  },
  createCheckpoint: async (world) => {
    const { sessionId } = await world.session();
    return {
      path: `/v1/sessions/${sessionId}/checkpoints`,
      body: { name: 'one' },
      other: { body: { name: 'two' } },
      status: 201,
      done: () => count(world, `/v1/sessions/${sessionId}/checkpoints`),
    };
  },
  deleteCheckpoint: async (world) => {
    const { checkpointId } = await checkpointed(world);
    return { path: `/v1/checkpoints/${checkpointId}`, other: {}, status: 204 };
  },
  restoreCheckpoint: async (world, mark) => {
    const { checkpointId } = await checkpointed(world);
    return {
      path: `/v1/checkpoints/${checkpointId}/restore`,
      body: { mode: 'new', metadata: { mark } },
      other: { body: { mode: 'new', metadata: { mark: 'other' } } },
      status: 201,
      done: () => count(world, `/v1/sessions?metadata.mark=${mark}`),
    };
  },
};

t.test('every mutation', async (t) => {
  const world = await startService(t, { MAX_SESSIONS: '100' });
  const { body: document } = await world.call<{
    paths: Record<string, Record<string, { operationId: string }>>;
  }>('GET', '/openapi.json');
  const operations = Object.values(document.paths).flatMap((methods) =>
    Object.entries(methods).flatMap(([method, { operationId }]) =>
      ['post', 'put', 'patch', 'delete'].includes(method)
        ? [{ method: method.toUpperCase(), operationId }]
        : [],
    ),
  );
  t.same(
    operations.map(({ operationId }) => operationId).sort(),
    Object.keys(MUTATIONS).sort(),
    'has a row in this test',
  );

  const send = async (method: string, call: Pick<Prepared, 'path' | 'body' | 'bytes'>, key: string) => {
    const { path, body, bytes } = call;
    const payload = bytes ?? (body === undefined ? undefined : JSON.stringify(body));
    const type = bytes === undefined ? 'application/json' : 'application/octet-stream';
    const reply = await fetch(world.url + path, {
      method,
      headers: {
        'idempotency-key': key,
        ...(payload === undefined ? {} : { 'content-type': type }),
      },
      ...(payload === undefined ? {} : { body: payload }),
    });
    return {
      status: reply.status,
      replayed: reply.headers.get('idempotency-replayed'),
      location: reply.headers.get('location'),
      text: await reply.text(),
    };
  };
  const known = operations.filter(({ operationId }) => operationId in MUTATIONS);

  for (const { method, operationId } of known) {
    t.test(`${operationId}: repeated it gives the same reply and does nothing again`, async (t) => {
      const call = await MUTATIONS[operationId]!(world, operationId);
      const key = `repeat-${operationId}`;
      const first = await send(method, call, key);
      t.match(first, { status: call.status, replayed: null });
      const again = await send(method, call, key);
      t.match(again, { status: call.status, replayed: 'true', location: first.location });
      // A task is shown as it is by then; everything else is what was said.
      if (operationId === 'submitTask') t.equal(JSON.parse(again.text).taskId, JSON.parse(first.text).taskId);
      else t.equal(again.text, first.text);
      const { path, body, bytes } = call.other;
      if (path !== undefined || body !== undefined || bytes !== undefined) {
        const other = await send(method, { ...call, ...call.other }, key);
        t.match(other, { status: 422, text: /"IDEMPOTENCY_MISMATCH"/ });
      }
      if (call.done) t.equal(await call.done(), 1);
      await call.cleanUp?.();
    });

    t.test(`${operationId}: of several at once one is carried out`, async (t) => {
      const call = await MUTATIONS[operationId]!(world, `${operationId}-at-once`);
      const key = `at-once-${operationId}`;
      const replies = await Promise.all(Array.from({ length: 4 }, () => send(method, call, key)));
      const carriedOut = replies.filter(({ status, replayed }) => status === call.status && !replayed);
      t.equal(carriedOut.length, 1);
      for (const { status, replayed, text } of replies) {
        const isReply = status === call.status;
        t.ok(isReply || (status === 409 && /"IDEMPOTENCY_IN_PROGRESS"/.test(text)), `${status} ${replayed}`);
      }
      if (call.done) t.equal(await call.done(), 1);
      await call.cleanUp?.();
    });
  }

  t.test('cut off by a crash: the outcome is unknown, and a task is found again', async (t) => {
    const calls: { method: string; operationId: string; call: Prepared; first: string }[] = [];
    for (const { method, operationId } of known) {
      const call = await MUTATIONS[operationId]!(world, `${operationId}-crash`);
      const { text } = await send(method, call, `crash-${operationId}`);
      calls.push({ method, operationId, call, first: text });
    }
    await world.restart(async () => {
      // As a service leaves them that is killed before it could store the replies.
      const store = new SqliteStore({ directory: world.dataDir });
      await store.start();
      const left = store.query
        .updateTable('idempotency')
        .set({ state: 'running', status: null, headers: null, body: null })
        .where('key', 'like', 'crash-%')
        .where('task', 'is', null);
      await store.write([left.compile()]);
      await store.close();
    });
    for (const { method, operationId, call, first } of calls) {
      const reply = await send(method, call, `crash-${operationId}`);
      if (operationId === 'submitTask') {
        t.match(reply, { status: 200, replayed: 'true' });
        t.match(JSON.parse(reply.text), {
          taskId: JSON.parse(first).taskId,
          ending: { cause: 'interrupted' },
        });
      } else {
        t.equal(reply.status, 409, operationId);
        t.match(JSON.parse(reply.text), { code: 'IDEMPOTENCY_OUTCOME_UNKNOWN', outcome: 'unknown' });
      }
    }
  });
});

t.test(
  'what failed for want of room is not kept: the same key is carried out when there is some',
  async (t) => {
    const world = await startService(t, {
      MAX_SESSIONS: '1',
      MAX_RUNNING_TASKS: '1',
      MAX_TOTAL_QUEUED_TASKS: '1',
    });
    const { sessionId } = await world.session();
    const create = () => world.call('POST', '/v1/sessions', {}, { 'idempotency-key': 'k' });
    const submit = () =>
      world.call<Task>(
        'POST',
        `/v1/sessions/${sessionId}/tasks?wait=30`,
        { tool: 'echo', arguments: { message: 'x' } },
        {
          'idempotency-key': 'k',
        },
      );
    t.match(await create(), { status: 503, body: { code: 'CAPACITY_EXCEEDED', outcome: 'notStarted' } });
    const running = await world.submit(sessionId, sleeps.tool, sleeps.arguments);
    await world.submit(sessionId, 'echo', { message: 'waits' });
    t.match(await submit(), { status: 503, body: { code: 'CAPACITY_EXCEEDED', outcome: 'notStarted' } });
    await world.call('POST', `/v1/tasks/${running.taskId}/cancel`, {});
    const submitted = await submit();
    t.match(submitted, { status: 200, body: { status: 'success' } });
    t.equal(submitted.headers.get('idempotency-replayed'), null);
    await end(world, sessionId);
    t.match(await create(), { status: 201 });
  },
);

t.test('a repeated submission waits for its task again', async (t) => {
  const world = await startService(t);
  const { sessionId } = await world.session();
  const body = {
    tool: 'run.python',
    arguments: { code: 'import os, time\nwhile not os.path.exists("go"): time.sleep(.01)\nprint("done")' },
  };
  const submit = (wait: number) =>
    world.call<Task>('POST', `/v1/sessions/${sessionId}/tasks?wait=${wait}`, body, {
      'idempotency-key': 'k',
    });
  const first = await submit(0);
  t.equal(first.status, 202);
  const waiting = submit(60);
  await world.run(sessionId, 'run.command', { command: ['touch', 'go'] }, { background: true });
  const repeat = await waiting;
  t.match(repeat, { status: 200, body: { taskId: first.body.taskId, outputs: { stdout: 'done\n' } } });
  t.equal(repeat.headers.get('idempotency-replayed'), 'true');
});
