import { connect } from 'node:net';
import websocket from '@fastify/websocket';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { type AccessOptions, guardAccess } from '../../src/http/auth.js';
import { buildServer, type Server } from '../../src/http/server.js';

const KEY = 'key-of-at-least-16';

async function guarded(t: Test, options: Partial<AccessOptions> = {}): Promise<Server> {
  const app = buildServer({ jsonBodyBytes: 1024, log: pino({ level: 'silent' }) });
  guardAccess(app, { apiKeys: [], allowedHosts: [], allowedOrigins: [], ...options });
  await app.register(websocket);
  app.get('/socket', { websocket: true }, (socket) => socket.close());
  app.get('/who', async (request) => request.principal);
  app.post('/change', async () => ({ changed: true }));
  app.get('/healthz', async () => ({ alive: true }));
  t.teardown(() => app.close());
  await app.listen({ port: 0, host: '127.0.0.1' });
  return app;
}

function portOf(app: Server): number {
  return (app.server.address() as { port: number }).port;
}

/** A WebSocket handshake as a browser would send it; gives back the answer's first line and body. */
function upgrade(port: number, headers: string, path = '/socket'): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.write(
        `GET ${path} HTTP/1.1\r\n${headers}Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
      );
    });
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
      if (text.startsWith('HTTP/1.1 101 ')) socket.destroy();
    });
    socket.on('close', () => resolve(text)).on('error', reject);
  });
}

t.test('DNS rebinding: without keys a request under a foreign Host is refused', async (t) => {
  const app = await guarded(t);
  for (const host of [
    'evil.example',
    'evil.example:8080',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    'localhost.',
    '[::1].evil.example',
    '10.0.0.1:8080',
  ]) {
    const reply = await app.inject({ url: '/who', headers: { host } });
    t.match(reply.json(), { status: 403, code: 'HOST_NOT_ALLOWED' }, host);
  }
  for (const host of ['localhost', 'LOCALHOST:8080', '127.0.0.1:1', '127.8.9.1', '[::1]', '[::1]:8080']) {
    t.equal((await app.inject({ url: '/who', headers: { host } })).statusCode, 200, host);
  }
});

t.test('the operator may add names', async (t) => {
  const app = await guarded(t, { allowedHosts: ['box.lan', 'other.lan:9000'] });
  const statusFor = async (host: string) => (await app.inject({ url: '/who', headers: { host } })).statusCode;
  t.equal(await statusFor('box.lan'), 200);
  t.equal(await statusFor('Box.LAN:8080'), 200);
  t.equal(await statusFor('other.lan:9000'), 200);
  t.equal(await statusFor('other.lan:9001'), 403);
});

t.test('cross-origin: without keys a web page may only call from our own origin', async (t) => {
  const app = await guarded(t, { allowedOrigins: ['https://app.example.com'] });
  const from = async (origin: string) =>
    app.inject({ method: 'POST', url: '/change', headers: { host: 'localhost:8080', origin } });
  for (const origin of [
    'https://evil.example',
    'null',
    'http://localhost',
    'http://localhost:3000',
    'http://127.0.0.1:8080',
    'http://localhost:8080.evil.example',
  ]) {
    t.match((await from(origin)).json(), { status: 403, code: 'ORIGIN_NOT_ALLOWED' }, origin);
  }
  t.equal((await from('http://localhost:8080')).statusCode, 200);
  t.equal((await from('https://app.example.com')).statusCode, 200);
});

t.test('an allowed page gets the headers its browser asks for, and a preflight its answer', async (t) => {
  const app = await guarded(t, { allowedOrigins: ['https://app.example.com'] });
  const origin = 'https://app.example.com';
  const plain = await app.inject({ url: '/who', headers: { host: 'localhost', origin } });
  t.equal(plain.headers['access-control-allow-origin'], origin);
  t.match(plain.headers.vary, /Origin/i);
  const preflight = await app.inject({
    method: 'OPTIONS',
    url: '/change',
    headers: { host: 'localhost', origin, 'access-control-request-method': 'POST' },
  });
  t.equal(preflight.statusCode, 204);
  t.match(preflight.headers['access-control-allow-headers'], /idempotency-key/i);
  const foreign = await app.inject({
    method: 'OPTIONS',
    url: '/change',
    headers: { host: 'localhost', origin: 'https://evil.example', 'access-control-request-method': 'POST' },
  });
  t.equal(foreign.statusCode, 403);
  t.equal(foreign.headers['access-control-allow-origin'], undefined);
});

t.test(
  'cross-origin WebSocket upgrade: refused before the upgrade, as is one under a foreign Host',
  async (t) => {
    const app = await guarded(t);
    const port = portOf(app);
    t.match(
      await upgrade(port, 'Host: localhost\r\nOrigin: https://evil.example\r\n'),
      /^HTTP\/1.1 403 [\s\S]*ORIGIN_NOT_ALLOWED/,
    );
    t.match(await upgrade(port, 'Host: localhost\r\n'), /^HTTP\/1.1 101 /);
    t.match(await upgrade(port, 'Host: localhost\r\nOrigin: http://localhost\r\n'), /^HTTP\/1.1 101 /);
    t.match(
      await upgrade(port, 'Host: localhost\r\nOrigin: https://evil.example\r\n', '/who'),
      /^HTTP\/1.1 403 /,
    );
    t.match(await upgrade(port, 'Host: evil.example\r\n'), /^HTTP\/1.1 403 [\s\S]*HOST_NOT_ALLOWED/);
  },
);

t.test('with keys a request needs one of them, in any case of the scheme', async (t) => {
  const app = await guarded(t, { apiKeys: ['another-key-of-16-chars', KEY] });
  for (const authorization of [
    undefined,
    '',
    KEY,
    `Basic ${KEY}`,
    'Bearer',
    `Bearer ${KEY}x`,
    `Bearer ${KEY} x`,
  ]) {
    const headers: Record<string, string> = authorization === undefined ? {} : { authorization };
    const reply = await app.inject({ url: '/who', headers });
    t.match(reply.json(), { status: 401, code: 'UNAUTHORIZED' }, String(authorization));
    t.match(reply.headers['www-authenticate'], /^Bearer /);
    t.notMatch(reply.payload, KEY, 'a key is never shown');
  }
  for (const authorization of [`Bearer ${KEY}`, `bearer  ${KEY}`]) {
    const reply = await app.inject({ url: '/who', headers: { authorization, host: 'any.example' } });
    t.strictSame(reply.json(), { tenant: 'default' });
  }
});

t.test('timing: a key is compared whole, whatever its length and however much of it is right', async (t) => {
  const app = await guarded(t, { apiKeys: [KEY] });
  for (const wrong of [KEY.slice(0, -1), `${KEY.slice(0, -1)}X`, `X${KEY.slice(1)}`, 'x', 'x'.repeat(8000)]) {
    const reply = await app.inject({ url: '/who', headers: { authorization: `Bearer ${wrong}` } });
    t.equal(reply.statusCode, 401);
  }
});

t.test('addresses that do not exist are guarded too, and health is open to all', async (t) => {
  const withKey = await guarded(t, { apiKeys: [KEY] });
  t.equal((await withKey.inject('/nowhere')).statusCode, 401);
  t.equal((await withKey.inject('/healthz')).statusCode, 200);
  const without = await guarded(t);
  const foreign = { host: 'evil.example' };
  t.equal((await without.inject({ url: '/nowhere', headers: foreign })).statusCode, 403);
  t.equal((await without.inject({ url: '/healthz', headers: foreign })).statusCode, 200);
});
