import { Type } from '@sinclair/typebox';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import {
  CapacityExceeded,
  OutOfDisk,
  SessionNotFound,
  StoreUnavailable,
  TooManyTasks,
} from '../../src/errors.js';
import { guardAccess } from '../../src/http/auth.js';
import { honourIdempotencyKeys } from '../../src/http/idempotency.js';
import { IdempotencyRecords, KEPT_MS } from '../../src/http/idempotency-records.js';
import { buildServer, type Server } from '../../src/http/server.js';
import { closed } from '../../src/lib/typebox.js';
import { SqliteStore } from '../../src/store/sqlite.js';

const log = pino({ level: 'silent' });

async function world(t: Test, routes: (app: Server) => void, now?: () => number, maxBytes = Infinity) {
  const store = new SqliteStore({ directory: t.testdir() });
  await store.start();
  const records = new IdempotencyRecords({ store, log, maxBytes, ...(now ? { now } : {}) });
  await records.start();
  const app = buildServer({ jsonBodyBytes: 64 * 1024, log });
  guardAccess(app, { apiKeys: [], allowedHosts: [], allowedOrigins: [] });
  honourIdempotencyKeys(app, records);
  routes(app);
  t.teardown(async () => {
    await app.close();
    records.close();
    await store.close();
  });
  const send = (
    url: string,
    payload?: unknown,
    key = 'k1',
    method: 'POST' | 'PUT' | 'PATCH' | 'DELETE' = 'POST',
  ) =>
    app.inject({
      method,
      url,
      headers: { 'idempotency-key': key },
      ...(payload === undefined ? {} : { payload: payload as object }),
    });
  return { app, store, records, send };
}

/** A route that counts how often it really ran. */
function counter(app: Server) {
  const ran = { times: 0 };
  const schema = { body: closed({ a: Type.Optional(Type.Integer()), b: Type.Optional(Type.Integer()) }) };
  app.route({
    method: ['POST', 'PUT', 'PATCH', 'DELETE'],
    url: '/count',
    schema,
    handler: async (_request, reply) => {
      ran.times += 1;
      return reply.code(201).header('location', `/count/${ran.times}`).send({ times: ran.times });
    },
  });
  return ran;
}

t.test('a repeat gets the stored reply, headers included, and runs nothing', async (t) => {
  let ran!: { times: number };
  const { send } = await world(t, (app) => {
    ran = counter(app);
  });
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE'] as const) {
    ran.times = 0;
    const first = await send('/count', { a: 1, b: 2 }, 'k1', method);
    const repeat = await send('/count', { b: 2, a: 1 }, 'k1', method);
    t.equal(ran.times, 1, method);
    t.equal(first.headers['idempotency-replayed'], undefined);
    t.equal(repeat.headers['idempotency-replayed'], 'true');
    t.equal(repeat.statusCode, 201);
    t.equal(repeat.headers.location, '/count/1');
    t.equal(repeat.headers['content-type'], first.headers['content-type']);
    t.equal(repeat.payload, first.payload);
  }
});

t.test('another key, path or method is another request; without a key nothing is remembered', async (t) => {
  let ran!: { times: number };
  const { app, send } = await world(t, (app) => {
    ran = counter(app);
  });
  await send('/count', {}, 'k1');
  await send('/count', {}, 'k2');
  await send('/count', {}, 'k1', 'PUT');
  await app.inject({ method: 'POST', url: '/count', payload: {} });
  t.equal(ran.times, 4);
});

t.test('the same key with another body or query is a 422', async (t) => {
  let ran!: { times: number };
  const { send } = await world(t, (app) => {
    ran = counter(app);
  });
  await send('/count', { a: 1 });
  t.match((await send('/count', { a: 2 })).json(), { status: 422, code: 'IDEMPOTENCY_MISMATCH' });
  t.match((await send('/count?force=true', { a: 1 })).json(), { status: 422 });
  t.equal((await send('/count?wait=5', { a: 1 })).statusCode, 201, 'how long one waits does not count');
  t.equal(ran.times, 1);
});

t.test('while the first request runs a repeat is a 409 that may be tried again', async (t) => {
  const gate = { open: () => {}, entered: () => {} };
  const opened = new Promise<void>((resolve) => {
    gate.open = resolve;
  });
  const entered = new Promise<void>((resolve) => {
    gate.entered = resolve;
  });
  const { send } = await world(t, (app) => {
    app.post('/slow', async () => {
      gate.entered();
      await opened;
      return { done: true };
    });
  });
  const first = send('/slow');
  await entered;
  const early = await send('/slow');
  t.match(early.json(), { status: 409, code: 'IDEMPOTENCY_IN_PROGRESS', retryable: true });
  t.ok(early.headers['retry-after']);
  gate.open();
  t.strictSame((await first).json(), { done: true });
  t.equal((await send('/slow')).headers['idempotency-replayed'], 'true');
});

t.test('a hundred equal requests at once run once', async (t) => {
  let ran!: { times: number };
  const { send } = await world(t, (app) => {
    ran = counter(app);
  });
  const replies = await Promise.all(Array.from({ length: 100 }, () => send('/count', { a: 1 })));
  t.equal(ran.times, 1);
  for (const { statusCode } of replies) t.ok(statusCode === 201 || statusCode === 409);
});

t.test('a refusal is replayed, but not one that may be lifted, nor a failure of ours', async (t) => {
  const ran = { times: 0 };
  const errors = [
    [() => new SessionNotFound('s'), 1],
    [() => new TooManyTasks('session', 'queued', 100, 1), 2],
    [() => new CapacityExceeded(50), 2],
    [() => new Error('bug'), 2],
  ] as const;
  const { send } = await world(t, (app) => {
    errors.forEach(([make], i) => {
      app.post(`/refuse/${i}`, async () => {
        ran.times += 1;
        throw make();
      });
    });
  });
  for (const [i, [, times]] of errors.entries()) {
    ran.times = 0;
    const first = await send(`/refuse/${i}`);
    const repeat = await send(`/refuse/${i}`);
    t.equal(repeat.statusCode, first.statusCode);
    t.equal(repeat.headers['content-type'], 'application/problem+json');
    t.equal(ran.times, times, first.json().code);
  }
});

t.test('an invalid request uses up no key', async (t) => {
  let ran!: { times: number };
  const { send } = await world(t, (app) => {
    ran = counter(app);
  });
  t.equal((await send('/count', { a: 'x' })).statusCode, 400);
  t.equal((await send('/count', { a: 1 })).statusCode, 201);
  t.equal((await send('/nowhere', { a: 1 })).statusCode, 404);
  t.equal(ran.times, 1);
});

t.test('a key is visible ASCII; line breaks, spaces and other scripts are refused', async (t) => {
  const { send } = await world(t, counter);
  for (const key of ['', 'a b', 'x'.repeat(256), 'schlüssel']) {
    const reply = await send('/count', {}, key);
    t.match(reply.json(), { status: 400, errors: [{ where: '/headers/idempotency-key' }] }, key);
  }
});

t.test('a reply without a body is replayed without one', async (t) => {
  const ran = { times: 0 };
  const { send } = await world(t, (app) => {
    app.delete('/thing', async (_request, reply) => {
      ran.times += 1;
      return reply.code(204).send();
    });
  });
  await send('/thing', undefined, 'k1', 'DELETE');
  const repeat = await send('/thing', undefined, 'k1', 'DELETE');
  t.equal(repeat.statusCode, 204);
  t.equal(repeat.payload, '');
  t.equal(ran.times, 1);
});

t.test('after a day a key is free again', async (t) => {
  let time = Date.now();
  let ran!: { times: number };
  const { send, records, store } = await world(
    t,
    (app) => {
      ran = counter(app);
    },
    () => time,
  );
  await send('/count', { a: 1 });
  time += KEPT_MS;
  await send('/count', { a: 1 });
  t.equal(ran.times, 1, 'kept to the last millisecond');
  time += 1;
  t.equal((await send('/count', { a: 2 })).statusCode, 201);
  t.equal(ran.times, 2);
  time += KEPT_MS + 1;
  await records.sweep();
  t.strictSame(await store.query.selectFrom('idempotency').selectAll().execute(), []);
});

t.test('crash: what was running when the service died is answered with an unknown outcome', async (t) => {
  const { send, store, records } = await world(t, (app) => {
    app.post('/work', async () => ({ done: true }));
  });
  const record = { tenant: 'default', method: 'POST', path: '/work', key: 'k1' };
  await send('/work');
  await store.write([store.query.updateTable('idempotency').set({ state: 'running' }).compile()]);
  await new IdempotencyRecords({ store, log }).start();
  t.equal((await records.find(record))?.state, 'unknown');
  t.match((await send('/work')).json(), {
    status: 409,
    code: 'IDEMPOTENCY_OUTCOME_UNKNOWN',
    outcome: 'unknown',
    retryable: false,
  });
});

t.test('an end that the store did not take is stored when a repeat comes', async (t) => {
  const ran = { times: 0 };
  const broken = { writes: 0 };
  const made = await world(t, (app) => {
    app.post('/work', async () => {
      ran.times += 1;
      broken.writes = 2;
      return { times: ran.times };
    });
    app.post('/fail', async () => {
      ran.times += 1;
      broken.writes = ran.times === 1 ? 2 : 0;
      throw new CapacityExceeded(50);
    });
  });
  const { store } = made;
  const write = store.write.bind(store);
  store.write = async (unit) => {
    if (broken.writes === 0) return write(unit);
    broken.writes -= 1;
    throw new OutOfDisk(new Error('full'));
  };
  t.strictSame((await made.send('/work')).json(), { times: 1 }, 'it is done, and says so');
  t.match((await made.send('/work')).json(), { status: 507, code: 'OUT_OF_DISK' }, 'the store is still full');
  const repeat = await made.send('/work');
  t.strictSame(repeat.json(), { times: 1 });
  t.equal(repeat.headers['idempotency-replayed'], 'true');

  ran.times = 0;
  t.equal((await made.send('/fail')).statusCode, 503);
  t.equal((await made.send('/fail')).statusCode, 507);
  t.equal((await made.send('/fail')).statusCode, 503, 'a new attempt, and not one that runs for ever');
  t.equal(ran.times, 2);
});

t.test(
  'a call that never began, since nobody could say whether it was recorded, may begin later',
  async (t) => {
    let ran!: { times: number };
    const { send, store } = await world(t, (app) => {
      ran = counter(app);
    });
    const write = store.write.bind(store);
    store.write = async (unit) => {
      store.write = write;
      await write(unit);
      throw new StoreUnavailable(new Error('its thread died'));
    };
    t.match((await send('/count', { a: 1 })).json(), { status: 503, code: 'STORE_UNAVAILABLE' });
    t.equal((await send('/count', { a: 1 })).statusCode, 201);
    t.equal(ran.times, 1);
  },
);

t.test('a client that goes away does not free its key: the reply is stored for the repeat', async (t) => {
  const gate = { open: () => {}, entered: () => {} };
  const opened = new Promise<void>((resolve) => {
    gate.open = resolve;
  });
  const entered = new Promise<void>((resolve) => {
    gate.entered = resolve;
  });
  const ran = { times: 0 };
  const { app, records } = await world(t, (app) => {
    app.post('/slow', async () => {
      ran.times += 1;
      gate.entered();
      await opened;
      return { done: true };
    });
  });
  const url = `${await app.listen({ port: 0, host: '127.0.0.1' })}/slow`;
  const leaving = new AbortController();
  const headers = { 'idempotency-key': 'k1' };
  const gone = fetch(url, { method: 'POST', headers, signal: leaving.signal });
  await entered;
  leaving.abort();
  await t.rejects(gone);
  gate.open();
  const record = { tenant: 'default', method: 'POST', path: '/slow', key: 'k1' };
  while ((await records.find(record))?.state !== 'done')
    await new Promise((resolve) => setImmediate(resolve));
  const repeat = await fetch(url, { method: 'POST', headers });
  t.strictSame(await repeat.json(), { done: true });
  t.equal(repeat.headers.get('idempotency-replayed'), 'true');
  t.equal(ran.times, 1);
});

t.test('a task submission is recorded with its task, and a repeat is told which', async (t) => {
  const submitted: string[] = [];
  const { send, store } = await world(t, (app) => {
    app.post('/tasks', { config: { idempotency: 'task' } }, async (request) => {
      const { idempotency } = request;
      if (idempotency?.repeatedTaskId) return { taskId: idempotency.repeatedTaskId };
      const taskId = `tsk_${submitted.length + 1}`;
      await store.write([...(idempotency?.statements(taskId) ?? [])]);
      submitted.push(taskId);
      return { taskId };
    });
    app.post('/full', { config: { idempotency: 'task' } }, async () => {
      throw new SessionNotFound('s');
    });
  });
  t.strictSame((await send('/tasks')).json(), { taskId: 'tsk_1' });
  const repeat = await send('/tasks');
  t.strictSame(repeat.json(), { taskId: 'tsk_1' });
  t.equal(repeat.headers['idempotency-replayed'], 'true');
  t.match((await send('/tasks', { other: true })).json(), { status: 422 });
  await send('/full');
  t.equal((await send('/full')).headers['idempotency-replayed'], undefined, 'a refusal leaves no record');
  t.strictSame(submitted, ['tsk_1']);
});

t.test('two equal submissions at once make one task', async (t) => {
  const submitted: string[] = [];
  const { send, store } = await world(t, (app) => {
    app.post('/tasks', { config: { idempotency: 'task' } }, async ({ idempotency }) => {
      if (idempotency!.repeatedTaskId) return { taskId: idempotency!.repeatedTaskId };
      const taskId = `tsk_${submitted.length + 1}`;
      await store.write([...idempotency!.statements(taskId)]);
      submitted.push(taskId);
      return { taskId };
    });
  });
  const replies = await Promise.all(Array.from({ length: 20 }, () => send('/tasks')));
  for (const { statusCode } of replies) t.ok(statusCode === 200 || statusCode === 409);
  t.strictSame(submitted, ['tsk_1']);
});

t.test('a repeat does not wait for the reply to the first submission, only for its acceptance', async (t) => {
  const gate = { open: () => {}, accepted: () => {} };
  const opened = new Promise<void>((resolve) => {
    gate.open = resolve;
  });
  const accepted = new Promise<void>((resolve) => {
    gate.accepted = resolve;
  });
  const { send, store } = await world(t, (app) => {
    app.post('/tasks', { config: { idempotency: 'task' } }, async ({ idempotency }) => {
      if (idempotency!.repeatedTaskId) return { taskId: idempotency!.repeatedTaskId };
      await store.write([...idempotency!.statements('tsk_1')]);
      gate.accepted();
      await opened;
      return { taskId: 'tsk_1' };
    });
  });
  const first = send('/tasks');
  await accepted;
  const repeat = await send('/tasks');
  t.strictSame(repeat.json(), { taskId: 'tsk_1' });
  t.equal(repeat.headers['idempotency-replayed'], 'true');
  gate.open();
  t.strictSame((await first).json(), { taskId: 'tsk_1' });
});

/** A route whose reply is as large as it is told, and can be fetched again. */
function large(app: Server) {
  const ran = { times: 0, fetched: 0 };
  const render = (size: number) => ({ text: 'x'.repeat(size), fetched: ran.fetched });
  app.route<{ Params: { size: string } }>({
    method: 'POST',
    url: '/large/:size',
    config: {
      refetch: async ({ params }, kept) => {
        ran.fetched += 1;
        t.match(kept, { times: Number });
        return { made: render(Number((params as { size: string }).size)) };
      },
    },
    handler: async ({ params }, reply) => {
      ran.times += 1;
      return reply.code(201).send({ times: ran.times, made: render(Number(params.size)) });
    },
  });
  return ran;
}

t.test('of a large reply a part is stored, and a repeat fetches the rest again', async (t) => {
  let ran!: ReturnType<typeof large>;
  const { send, store, records } = await world(t, (app) => {
    ran = large(app);
  });
  for (const size of [100, 10_000, 1_000_000]) {
    Object.assign(ran, { times: 0, fetched: 0 });
    const first = await send(`/large/${size}`, undefined, `k${size}`);
    const repeat = await send(`/large/${size}`, undefined, `k${size}`);
    t.equal(ran.times, 1);
    t.equal(repeat.statusCode, 201);
    t.equal(repeat.headers['content-type'], first.headers['content-type']);
    t.same(repeat.json(), { times: 1, made: { text: 'x'.repeat(size), fetched: size > 16_384 ? 1 : 0 } });
  }
  const stored = async () => {
    const rows = await store.query.selectFrom('idempotency').select(['key', 'body']).execute();
    return rows.map(({ key, body }) => [key, body!.byteLength] as const);
  };
  for (const [key, bytes] of await stored()) t.ok(bytes <= 16 * 1024, `${key}: ${bytes} bytes`);

  t.equal(await records.cut(), true, 'for room in the store');
  t.equal(await records.cut(), false, 'there is no more to cut');
  for (const [key, bytes] of await stored()) t.ok(bytes < 1024, `${key}: ${bytes} bytes`);
  Object.assign(ran, { times: 0, fetched: 0 });
  t.match((await send('/large/10000', undefined, 'k10000')).json(), { times: 1, made: { fetched: 1 } });
  t.equal(ran.times, 0, 'a record without its reply still keeps the work from being done twice');
});

t.test('what a repeat cannot fetch again is the refusal it would be, and runs nothing', async (t) => {
  const ran = { times: 0 };
  const { send } = await world(t, (app) => {
    const refetch = () => Promise.reject(new SessionNotFound('gone'));
    app.post('/gone', { config: { refetch } }, async () => {
      ran.times += 1;
      return { text: 'x'.repeat(100_000) };
    });
  });
  t.equal((await send('/gone')).statusCode, 200);
  t.match(await send('/gone'), { statusCode: 404 });
  t.equal(ran.times, 1);
});

t.test('every way to write one address is the same request', async (t) => {
  let ran!: { times: number };
  const seen: string[] = [];
  const { send } = await world(t, (app) => {
    ran = counter(app);
    app.post<{ Params: { id: string } }>('/of/:id/done', async ({ params }) => {
      seen.push(params.id);
      return params;
    });
  });
  for (const url of ['/count', '/%63ount', '/c%6funt', '/c%6Funt', '/count?'])
    t.equal((await send(url)).statusCode, 201, url);
  t.equal(ran.times, 1);
  for (const url of ['/of/a%2Fb/done', '/of/a%2fb/done', '/%6ff/%61%2fb/done'])
    t.same((await send(url)).json(), { id: 'a/b' });
  t.same(seen, ['a/b']);
  await send('/of/a/done');
  await send('/of/b/done');
  t.same(seen, ['a/b', 'a', 'b'], 'another address is another request');
});

t.test('records have a cap of their own: known keys are answered, new ones refused', async (t) => {
  let ran!: { times: number };
  const { send, records } = await world(
    t,
    (app) => {
      ran = counter(app);
    },
    undefined,
    10_000,
  );
  for (let n = 0; n < 30; n += 1) await send('/count', {}, `key${n}`);
  await records.measure();
  t.equal(records.size.count, 30);
  const refused = await send('/count', {}, 'another');
  t.match(refused.json(), { status: 429, code: 'TOO_MANY_IDEMPOTENCY_KEYS', outcome: 'notStarted' });
  t.equal((await send('/count', {}, 'key7')).headers['idempotency-replayed'], 'true');
  t.equal(ran.times, 30);
});
