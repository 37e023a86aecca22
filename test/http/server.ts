import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { Type } from '@sinclair/typebox';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { Problem } from '../../src/http/problem-schema.js';
import { acceptBytes, buildServer, type Server } from '../../src/http/server.js';
import { closed } from '../../src/lib/typebox.js';

function server(t: Test, options: Partial<Parameters<typeof buildServer>[0]> = {}): Server {
  const app = buildServer({ jsonBodyBytes: 64 * 1024, log: pino({ level: 'silent' }), ...options });
  app.addSchema(Problem);
  t.teardown(() => app.close());
  return app;
}

const Note = closed({ text: Type.String(), size: Type.Optional(Type.Integer()) });

function withNotes(t: Test, options?: Parameters<typeof server>[1]): Server {
  const app = server(t, options);
  app.post('/notes', { schema: { body: Note } }, async (request) => request.body);
  app.get('/notes/:id', async (request) => request.params);
  return app;
}

function readAll(message: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    message.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
    });
    message.on('end', () => resolve(text)).on('error', reject);
  });
}

/** Sends raw bytes and gives back everything up to the end of the connection. */
function speak(port: number, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.on('close', () => resolve(text)).on('error', reject);
  });
}

t.test('a caller’s X-Request-Id comes back, in the header and in problems', async (t) => {
  const app = withNotes(t);
  const reply = await app.inject({ url: '/nowhere', headers: { 'x-request-id': 'trace-1.a_B' } });
  t.equal(reply.headers['x-request-id'], 'trace-1.a_B');
  t.equal(reply.json().requestId, 'trace-1.a_B');
});

t.test('request-id injection: an id with other characters, or too long, is replaced', async (t) => {
  const app = withNotes(t);
  for (const id of ['a b', 'x'.repeat(129), '<script>', '{"level":"error"}', '']) {
    const reply = await app.inject({ url: '/notes/1', headers: { 'x-request-id': id } });
    t.match(reply.headers['x-request-id'], /^[0-9a-f-]{36}$/, JSON.stringify(id));
  }
});

t.test('a body is not converted, and an unknown member is an error with a suggestion', async (t) => {
  const app = withNotes(t);
  const converted = await app.inject({ method: 'POST', url: '/notes', payload: { text: 'a', size: '5' } });
  t.equal(converted.statusCode, 400);
  t.strictSame(converted.json().errors, [{ where: '/body/size', given: '5', rule: 'must be an integer' }]);
  const unknown = await app.inject({ method: 'POST', url: '/notes', payload: { txt: 'a' } });
  t.equal(unknown.statusCode, 400);
  t.strictSame(unknown.json().errors, [
    { where: '/body/text', rule: 'is required' },
    {
      where: '/body/txt',
      given: 'a',
      rule: 'is not a known member; did you mean "text"?; known are: text, size',
    },
  ]);
});

t.test('query and path are converted to the wanted type', async (t) => {
  const app = server(t);
  const querystring = closed({ limit: Type.Integer({ default: 50 }), force: Type.Optional(Type.Boolean()) });
  app.get('/list', { schema: { querystring } }, async (request) => request.query);
  t.strictSame((await app.inject('/list?limit=7&force=true')).json(), { limit: 7, force: true });
  t.strictSame((await app.inject('/list')).json(), { limit: 50 });
  const twice = await app.inject('/list?limit=1&limit=2');
  t.equal(twice.statusCode, 400);
  t.equal(twice.json().errors[0].where, '/query/limit');
});

t.test('no body counts as an empty object, so that what is missing has a name', async (t) => {
  const app = withNotes(t);
  for (const headers of [{}, { 'content-type': 'application/json' }]) {
    const reply = await app.inject({ method: 'POST', url: '/notes', headers });
    t.equal(reply.statusCode, 400);
    t.strictSame(reply.json().errors, [{ where: '/body/text', rule: 'is required' }]);
  }
});

t.test(
  'prototype pollution: members that reach a prototype are refused, text that mentions them is not',
  async (t) => {
    const app = withNotes(t);
    const post = (payload: string) =>
      app.inject({ method: 'POST', url: '/notes', headers: { 'content-type': 'application/json' }, payload });
    for (const body of [
      '{"text":"a","__proto__":{"admin":true}}',
      '{"text":"a","constructor":{"prototype":{"admin":true}}}',
      '{"text":"a","\\u005f_proto__":{"admin":true}}',
    ]) {
      const reply = await post(body);
      t.equal(reply.statusCode, 400, body);
      t.equal(reply.json().code, 'VALIDATION_FAILED');
      t.equal(({} as { admin?: boolean }).admin, undefined);
    }
    t.equal((await post(JSON.stringify({ text: '{"__proto__": 1}' }))).statusCode, 200);
  },
);

t.test(
  'malformed JSON, another media type and a body over the limit are problems with their own codes',
  async (t) => {
    const app = withNotes(t, { jsonBodyBytes: 2048 });
    const json = { 'content-type': 'application/json' };
    const malformed = await app.inject({ method: 'POST', url: '/notes', headers: json, payload: '{"text":' });
    t.match(malformed.json(), { status: 400, code: 'VALIDATION_FAILED', errors: [{ where: '/body' }] });
    const xml = await app.inject({
      method: 'POST',
      url: '/notes',
      headers: { 'content-type': 'text/xml' },
      payload: '<a/>',
    });
    t.match(xml.json(), { status: 415, code: 'UNSUPPORTED_MEDIA_TYPE', detail: /text\/xml/ });
    const big = await app.inject({ method: 'POST', url: '/notes', payload: { text: 'x'.repeat(2048) } });
    t.match(big.json(), { status: 413, code: 'PAYLOAD_TOO_LARGE', detail: /2048 bytes/ });
    for (const reply of [malformed, xml, big]) {
      t.equal(reply.headers['content-type'], 'application/problem+json');
    }
  },
);

t.test('deep JSON: a million nested arrays are refused like any wrong value', async (t) => {
  const app = withNotes(t, { jsonBodyBytes: 4 * 1024 * 1024 });
  const deep = '['.repeat(1_000_000) + ']'.repeat(1_000_000);
  const post = (payload: string) =>
    app.inject({ method: 'POST', url: '/notes', headers: { 'content-type': 'application/json' }, payload });
  for (const body of [deep, `{"text":${deep}}`, `{"text":"a","more":${deep}}`]) {
    const reply = await post(body);
    t.equal(reply.statusCode, 400);
    t.ok(reply.payload.length < 2000);
  }
});

t.test('huge JSON: a hundred thousand wrong members are told in a short reply', async (t) => {
  const app = withNotes(t, { jsonBodyBytes: 8 * 1024 * 1024 });
  const many = Object.fromEntries(Array.from({ length: 100_000 }, (_, i) => [`m${i}`, i]));
  const reply = await app.inject({ method: 'POST', url: '/notes', payload: many });
  t.equal(reply.statusCode, 400);
  t.ok(reply.json().errors.length <= 20);
  t.ok(reply.payload.length < 10_000);
});

t.test('duplicate headers: a second Host, Authorization or Idempotency-Key is refused', async (t) => {
  const app = withNotes(t);
  await app.listen({ port: 0, host: '127.0.0.1' });
  const { port } = app.server.address() as { port: number };
  for (const [first, second] of [
    ['Host: localhost', 'Host: evil.example'],
    ['Authorization: Bearer a', 'authorization: Bearer b'],
    ['Idempotency-Key: a', 'idempotency-key: b'],
  ]) {
    const host = first!.startsWith('Host') ? '' : 'Host: localhost\r\n';
    const text = await speak(
      port,
      `GET /notes/1 HTTP/1.1\r\n${host}${first}\r\n${second}\r\nConnection: close\r\n\r\n`,
    );
    t.match(text, /^HTTP\/1.1 400 /, first!);
    t.match(text, /must be sent once/, first!);
  }
});

t.test('bytes that are no HTTP, and an address that is no URL, are answered with a problem', async (t) => {
  const app = withNotes(t);
  await app.listen({ port: 0, host: '127.0.0.1' });
  const { port } = app.server.address() as { port: number };
  const noise = await speak(port, 'HELLO\r\n\r\n');
  t.match(noise, /^HTTP\/1.1 400 /);
  t.equal(JSON.parse(noise.slice(noise.indexOf('\r\n\r\n'))).code, 'VALIDATION_FAILED');
  const reply = await app.inject('/notes/%zz');
  t.equal(reply.statusCode, 400);
  t.equal(reply.json().code, 'VALIDATION_FAILED');
});

t.test('ids of 128 characters fit into a path', async (t) => {
  const app = withNotes(t);
  const id = 'x'.repeat(128);
  t.strictSame((await app.inject(`/notes/${id}`)).json(), { id });
});

t.test('a known path with another method is 405 and names the methods; an unknown one is 404', async (t) => {
  const app = withNotes(t);
  const wrong = await app.inject({ method: 'DELETE', url: '/notes/1?x=1' });
  t.match(wrong.json(), { status: 405, code: 'METHOD_NOT_ALLOWED', suggestion: /GET/ });
  t.equal(wrong.headers.allow, 'GET, HEAD');
  const unknown = await app.inject({ method: 'GET', url: '/nothing' });
  t.match(unknown.json(), { status: 404, code: 'NOT_FOUND' });
  t.equal(unknown.headers.allow, undefined);
});

t.test('raw bodies of any type arrive as bytes', async (t) => {
  const app = server(t);
  app.register(async (scope) => {
    acceptBytes(scope);
    scope.post('/raw', async (request) => ({ hex: (request.body as Buffer).toString('hex') }));
  });
  for (const type of ['application/octet-stream', 'application/x-www-form-urlencoded', 'application/json']) {
    const reply = await app.inject({
      method: 'POST',
      url: '/raw',
      headers: { 'content-type': type },
      payload: Buffer.from([0, 0xff, 0x7b]),
    });
    t.strictSame(reply.json(), { hex: '00ff7b' }, type);
  }
});

t.test(
  'closing delivers the reply that is under way, then refuses and lets go of the connection',
  async (t) => {
    const app = server(t);
    let begun!: () => void;
    let finish!: () => void;
    const started = new Promise<void>((resolve) => {
      begun = resolve;
    });
    const finished = new Promise<void>((resolve) => {
      finish = resolve;
    });
    app.get('/slow', async () => {
      begun();
      await finished;
      return { done: true };
    });
    const closing = new Promise<void>((resolve) => {
      app.addHook('preClose', async () => resolve());
    });
    await app.listen({ port: 0, host: '127.0.0.1' });
    const { port } = app.server.address() as { port: number };
    const reply = new Promise<IncomingMessage>((resolve, reject) => {
      httpRequest({ port, host: '127.0.0.1', path: '/slow', headers: { connection: 'keep-alive' } }, resolve)
        .on('error', reject)
        .end();
    });
    await started;
    const closedAll = app.close();
    await closing;
    finish();
    const message = await reply;
    t.equal(message.headers.connection, 'close');
    t.strictSame(JSON.parse(await readAll(message)), { done: true });
    await closedAll;
  },
);

t.test('the log has a line for each request, with its id, and none of the framework’s own', async (t) => {
  const lines: Record<string, unknown>[] = [];
  const log = pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const app = server(t, { log });
  app.get('/here', async () => ({}));
  const url = await app.listen({ port: 0, host: '127.0.0.1' });
  await fetch(`${url}/here`, { headers: { 'x-request-id': 'mine' } });
  await app.close();
  t.match(lines, [{ msg: 'request finished', requestId: 'mine', route: '/here', status: 200 }]);
  t.equal(lines.length, 1);
});

t.test('a connection that was opened and never used does not hold up closing', async (t) => {
  const app = server(t);
  await app.listen({ port: 0, host: '127.0.0.1' });
  const { port } = app.server.address() as { port: number };
  const client = connect(port, '127.0.0.1').on('error', () => {});
  t.teardown(() => client.destroy());
  await Promise.all([once(app.server, 'connection'), once(client, 'connect')]);
  const ended = once(client, 'close');
  await app.close();
  await ended;
});

t.test(
  'with checkReplies a reply that breaks its schema is a 500, and without it is sent as it is',
  async (t) => {
    for (const checkReplies of [true, false]) {
      const app = server(t, { checkReplies });
      app.get('/wrong', { schema: { response: { 200: closed({ a: Type.Integer() }) } } }, async () => ({
        a: 'x' as never,
      }));
      app.get('/right', { schema: { response: { 200: closed({ a: Type.Integer() }) } } }, async () => ({
        a: 1,
      }));
      t.equal((await app.inject('/wrong')).statusCode, checkReplies ? 500 : 200);
      t.strictSame((await app.inject('/right')).json(), { a: 1 });
    }
  },
);
