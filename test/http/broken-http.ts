// Every refusal is a problem document with a request id and says what is true, whatever part of the server makes it.
import t from 'tap';
import { rawRequest } from '../helpers/raw-http.js';
import { startService } from '../helpers/world.js';

const KEY = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==';
const UPGRADE = ['Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13'];

t.test('each refusal is a problem with a request id, and says what is true', async (t) => {
  const world = await startService(t, { JSON_BODY_BYTES: '2000' });
  const { sessionId } = await world.session();
  const host = `Host: ${new URL(world.url).host}`;
  const json = 'Content-Type: application/json';
  const events = `GET /v1/sessions/${sessionId}/events`;
  const refusals: [string, string[], number, string, RegExp][] = [
    ['garbage', ['HELLO'], 400, 'VALIDATION_FAILED', /valid HTTP/],
    ['no Host', ['GET /v1/sessions HTTP/1.1'], 400, 'VALIDATION_FAILED', /headers\/host/],
    [
      'a long URL',
      [`GET /v1/sessions?x=${'x'.repeat(20_000)} HTTP/1.1`, host],
      414,
      'URI_TOO_LONG',
      /16384 bytes/,
    ],
    ['a very long URL', [`GET /${'x'.repeat(200_000)} HTTP/1.1`, host], 414, 'URI_TOO_LONG', /16384 bytes/],
    [
      'a long header',
      ['GET /v1/sessions HTTP/1.1', host, `X-Long: ${'x'.repeat(20_000)}`],
      431,
      'HEADERS_TOO_LARGE',
      /16384 bytes/,
    ],
    [
      'many headers',
      [
        'GET /v1/sessions HTTP/1.1',
        host,
        ...Array.from({ length: 900 }, (_, i) => `X-Header-${i}: ${'y'.repeat(20)}`),
      ],
      431,
      'HEADERS_TOO_LARGE',
      /16384 bytes/,
    ],
    [
      'an expectation',
      ['GET /v1/sessions HTTP/1.1', host, 'Expect: magic'],
      417,
      'EXPECTATION_FAILED',
      /magic/,
    ],
    [
      'a body that is too long, announced',
      ['POST /v1/sessions HTTP/1.1', host, json, 'Content-Length: 2001', 'Expect: 100-continue'],
      413,
      'PAYLOAD_TOO_LARGE',
      /2000 bytes/,
    ],
    [
      'a compressed body',
      ['POST /v1/sessions HTTP/1.1', host, json, 'Content-Encoding: gzip', 'Content-Length: 2', '', '{}'],
      415,
      'UNSUPPORTED_MEDIA_TYPE',
      /Content-Encoding: gzip/,
    ],
    ['no upgrade', ['GET /v1/events HTTP/1.1', host], 426, 'UPGRADE_REQUIRED', /\/v1\/events is a WebSocket/],
    ['no key', [`${events} HTTP/1.1`, host, ...UPGRADE], 400, 'VALIDATION_FAILED', /WebSocket/],
    [
      'a bad key',
      ['GET /v1/events HTTP/1.1', host, ...UPGRADE, 'Sec-WebSocket-Key: x'],
      400,
      'VALIDATION_FAILED',
      /./,
    ],
    [
      'upgrade of a stream',
      [`${events}/stream HTTP/1.1`, host, ...UPGRADE, KEY],
      400,
      'VALIDATION_FAILED',
      /upgrade/,
    ],
    ['upgrade of nothing', ['GET /nowhere HTTP/1.1', host, ...UPGRADE, KEY], 404, 'NOT_FOUND', /nowhere/],
    ['a slash at the end', ['GET /v1/sessions/ HTTP/1.1', host], 404, 'NOT_FOUND', /Use \/v1\/sessions:/],
    ['two slashes', ['GET /v1//sessions HTTP/1.1', host], 404, 'NOT_FOUND', /Use \/v1\/sessions:/],
  ];
  for (const [what, head, status, code, says] of refusals) {
    const reply = await rawRequest(world.url, head);
    t.equal(reply.status, status, what);
    t.match(reply.head, /^content-type: application\/problem\+json/im, what);
    const problem = JSON.parse(reply.body || '{}') as Record<string, unknown>;
    t.match(problem, { status, code, outcome: 'notStarted' }, what);
    t.match(JSON.stringify(problem), says, what);
    t.ok(problem.requestId, what);
    t.equal(/^x-request-id: (\S+)/im.exec(reply.head)?.[1], problem.requestId, what);
    if (status === 426) t.match(reply.head, /^upgrade: websocket/im);
    if (status === 404) t.notMatch(reply.head, /^allow:/im, 'no method would help');
  }
  t.match(await world.call('GET', '/asyncapi.json'), { status: 200, body: { asyncapi: '3.0.0' } });
});

t.test('100 Continue is said to a body that is read, once, and the request is carried out', async (t) => {
  const world = await startService(t);
  const host = `Host: ${new URL(world.url).host}`;
  const reply = await rawRequest(
    world.url,
    [
      'POST /v1/sessions HTTP/1.1',
      ...[
        host,
        'Content-Type: application/json',
        'Content-Length: 2',
        'Expect: 100-continue',
        'Connection: close',
      ],
    ],
    '{}',
  );
  t.equal(reply.status, 100);
  t.match(reply.body, /^HTTP\/1\.1 201 /);
});
