// Streams that a browser can open: with a token in the URL, or a secret among the subprotocols. And what a token may not do.
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { WebSocket } from 'ws';
import { buildApp } from '../../src/app.js';
import { loadConfig } from '../../src/config.js';
import { StreamTokens } from '../../src/http/stream-tokens.js';

const KEY = 'a/key=of-at-least-16';
const BEARER = 'codegen-worker.bearer.';
const V1 = 'codegen-worker.v1';

async function start(t: Test, settings: Record<string, string> = {}) {
  const dataDir = await mkdtemp(join(tmpdir(), 'codegen-worker-test-'));
  const lines: string[] = [];
  const log = pino({ level: 'trace' }, { write: (line: string) => lines.push(line) });
  const config = loadConfig({
    PORT: '0',
    SPARE_SANDBOXES: '0',
    DATA_DIR: dataDir,
    API_KEYS: KEY,
    ...settings,
  });
  const app = await buildApp(config, { log, checkReplies: true });
  t.teardown(async () => {
    await app.close();
    await rm(dataDir, { recursive: true, force: true });
  });
  await app.start();
  const url = await app.listen();
  const call = (
    method: string,
    path: string,
    body?: unknown,
    authorization: string | null = `Bearer ${KEY}`,
  ) =>
    fetch(url + path, {
      method,
      headers: {
        ...(authorization === null ? {} : { authorization }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  const post = async (path: string, body: unknown) =>
    (await (await call('POST', path, body)).json()) as Record<string, string>;
  const session = async () => (await post('/v1/sessions', {})).sessionId!;
  const tokenFor = async (sessionId: string) =>
    (await post(`/v1/sessions/${sessionId}/tokens`, { ttlSeconds: 600 })).token!;
  const echo = async (sessionId: string) =>
    (await post(`/v1/sessions/${sessionId}/tasks?wait=30`, { tool: 'echo', arguments: { message: 'hi' } }))
      .taskId!;
  const socket = (path: string, protocols: string[] = []) =>
    new WebSocket(url.replace('http', 'ws') + path, protocols);
  return { call, session, tokenFor, echo, socket, lines };
}

/** The first message, or the status of the refusal, or the close code. */
async function outcome(socket: WebSocket): Promise<unknown> {
  return new Promise((resolve) => {
    socket.once('message', (data) => {
      resolve((JSON.parse(String(data)) as { type: string }).type);
      socket.close();
    });
    socket.once('unexpected-response', (_request, response) => {
      response.resume();
      resolve(response.statusCode);
    });
    socket.once('close', (code) => resolve(code));
    socket.once('error', () => {});
  });
}

t.test('a token opens the streams of its session, and nothing else; it is in no log', async (t) => {
  const { call, session, tokenFor, echo, socket, lines } = await start(t);
  const [mine, other] = [await session(), await session()];
  const [task, otherTask] = [await echo(mine), await echo(other)];
  const token = await tokenFor(mine);
  const withToken = async (method: string, path: string, body?: unknown) => {
    const reply = await call(method, `${path}${path.includes('?') ? '&' : '?'}token=${token}`, body, null);
    const code = reply.ok ? undefined : ((await reply.json()) as { code: string }).code;
    if (reply.ok) await reply.body?.cancel();
    return [reply.status, code];
  };
  for (const path of [`/v1/sessions/${mine}`, `/v1/tasks/${task}`]) {
    t.same(await withToken('GET', `${path}/events`), [200, undefined], path);
    t.same(await withToken('GET', `${path}/events/stream`), [200, undefined], path);
    t.match(await outcome(socket(`${path}/events?token=${token}`)), /\w+\.\w+/, path);
    t.match(await outcome(socket(`${path}/events`, [V1, BEARER + token])), /\w+\.\w+/, path);
  }
  t.same((await call('GET', `/v1/sessions/${mine}/events`, undefined, `Bearer ${token}`)).status, 200);
  for (const [path, code] of [
    [`/v1/sessions/${other}`, 'SESSION_NOT_FOUND'],
    [`/v1/tasks/${otherTask}`, 'TASK_NOT_FOUND'],
  ] as const) {
    t.same(await withToken('GET', `${path}/events`), [404, code], path);
    t.same(await withToken('GET', `${path}/events/stream`), [404, code], path);
    t.equal(await outcome(socket(`${path}/events?token=${token}`)), 4404, path);
  }
  for (const [method, path, body] of [
    ['GET', '/v1/sessions'],
    ['GET', `/v1/sessions/${mine}`],
    ['GET', `/v1/tasks/${task}`],
    ['GET', `/v1/tasks/${task}/output/stdout`],
    ['GET', '/metrics'],
    ['GET', '/nowhere'],
    ['POST', '/v1/sessions', {}],
    ['POST', `/v1/sessions/${mine}/tokens`, {}],
    ['POST', `/v1/sessions/${mine}/tasks`, { tool: 'echo', arguments: { message: 'x' } }],
    ['POST', `/v1/tasks/${task}/cancel`, {}],
    ['DELETE', `/v1/sessions/${mine}?force=true`],
  ] as const) {
    t.same(await withToken(method, path, body), [403, 'TOKEN_NOT_ALLOWED'], `${method} ${path}`);
  }
  t.equal(await outcome(socket(`/v1/events?token=${token}`)), 403, 'the socket for dashboards');

  for (const message of [
    { op: 'cancel', taskId: task },
    { op: 'stdin', taskId: task, text: 'x' },
  ]) {
    const reader = socket(`/v1/sessions/${mine}/events?token=${token}`);
    const refused = new Promise<{ problem: object }>((resolve) => {
      reader.on('message', (data) => {
        const said = JSON.parse(String(data)) as { type: string; problem: object };
        if (said.type === 'stream.error') resolve(said);
      });
    });
    await once(reader, 'open');
    reader.send(JSON.stringify(message));
    t.match((await refused).problem, { code: 'TOKEN_NOT_ALLOWED', status: 403 }, message.op);
    reader.close();
  }
  t.ok(lines.length > 20, 'the log was read');
  const secret = token.slice(4, 60);
  t.notOk(lines.some((line) => line.includes(secret) || line.includes(KEY)));
});

t.test('a false, changed or expired token, and a key in a URL, open nothing', async (t) => {
  const { call, session, tokenFor, socket } = await start(t);
  const mine = await session();
  const token = await tokenFor(mine);
  const [payload, signature] = token.slice(4).split('.') as [string, string];
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>;
  const forged = Buffer.from(JSON.stringify({ ...claims, expiresAt: 9e15 })).toString('base64url');
  for (const wrong of [
    '',
    'cwt_',
    payload,
    `cwt_${payload}`,
    `cwt_${payload}.`,
    `cwt_${payload}.${'A'.repeat(43)}`,
    `cwt_${forged}.${signature}`,
    `${token}A`,
    new StreamTokens().issue({ tenant: 'default', session: String(claims.session) }, 600).token,
    encodeURIComponent(KEY),
  ]) {
    const path = `/v1/sessions/${mine}/events?token=${wrong}`;
    t.equal((await call('GET', path, undefined, null)).status, 401, wrong);
    t.equal(await outcome(socket(path)), 401, wrong);
  }
  t.equal(
    (await call('GET', `/v1/sessions/${mine}/events?token=${token}&token=${token}`, undefined, null)).status,
    401,
  );
  let now = 1_000_000;
  const tokens = new StreamTokens(() => now);
  const grant = { tenant: 'default', session: 'x' };
  const issued = tokens.issue(grant, 60);
  now += 59_999;
  t.same(tokens.read(issued.token), grant);
  now += 1;
  t.equal(tokens.read(issued.token), undefined, 'expired');
});

t.test('a key as a subprotocol opens every socket, and is never the one chosen', async (t) => {
  const { session, tokenFor, socket } = await start(t);
  const mine = await session();
  const token = await tokenFor(mine);
  const secret = `codegen-worker.bearer64.${Buffer.from(KEY).toString('base64url')}`;
  for (const path of [`/v1/sessions/${mine}/events`, '/v1/events']) {
    const opened = socket(path, [V1, secret]);
    await once(opened, 'open');
    t.equal(opened.protocol, V1, path);
    opened.close();
  }
  for (const first of [secret, BEARER + token]) {
    const opened = socket(`/v1/sessions/${mine}/events`, [first, V1]);
    await once(opened, 'open');
    t.equal(opened.protocol, V1);
    opened.close();
  }
  t.equal(await outcome(socket('/v1/events', [V1, `${BEARER}not-a-key-at-all-123`])), 401);
  t.equal(await outcome(socket('/v1/events', [V1])), 401);
});

t.test('with keys the description of the API is open, unless the operator closes it', async (t) => {
  for (const [settings, status] of [
    [{}, 200],
    [{ DOCS_ACCESS: 'key' }, 401],
  ] as const) {
    const { call } = await start(t, settings);
    for (const path of ['/docs', '/docs/json', '/openapi.json', '/asyncapi.json'])
      t.equal((await call('GET', path, undefined, null)).status, status, path);
    t.equal((await call('GET', '/openapi.json')).status, 200);
    t.equal((await call('GET', '/v1/sessions', undefined, null)).status, 401);
  }
});
