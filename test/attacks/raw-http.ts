// HTTP as no client sends it: each is refused or understood in one way only, and the service goes on.
import t from 'tap';
import { exchange, openRaw, rawRequest } from '../helpers/raw-http.js';
import { startService } from '../helpers/world.js';

t.test('requests that smuggle, shout or never end', async (t) => {
  const world = await startService(t);
  const { url } = world;
  const host = `Host: ${new URL(url).host}`;
  const json = 'Content-Type: application/json';
  const isFine = async () => (await world.call('GET', '/v1/sessions')).status === 200;
  const sessions = async () =>
    (await world.call<{ items: unknown[] }>('GET', '/v1/sessions')).body.items.length;

  for (const [attack, head, body] of [
    ['both-lengths', ['Transfer-Encoding: chunked', 'Content-Length: 4'], '0\r\n\r\n'],
    ['two-lengths', ['Content-Length: 2', 'Content-Length: 40'], '{}'],
    ['a-list-of-lengths', ['Content-Length: 2, 40'], '{}'],
    ['a-signed-length', ['Content-Length: +2'], '{}'],
    ['a-hexadecimal-length', ['Content-Length: 0x2'], '{}'],
    ['unknown-coding', ['Transfer-Encoding: xchunked'], '0\r\n\r\n'],
    ['chunked-is-not-last', ['Transfer-Encoding: chunked, identity'], '0\r\n\r\n'],
    ['chunk-of-no-number', ['Transfer-Encoding: chunked'], 'zz\r\n{}\r\n0\r\n\r\n'],
    ['chunk-beyond-numbers', ['Transfer-Encoding: chunked'], 'ffffffffffffffff1\r\n{}\r\n0\r\n\r\n'],
    ['space-before-the-colon', ['Content-Length : 2'], '{}'],
    ['a-folded-header', ['X-A: b', ' Content-Length: 2'], '{}'],
    ['a-bare-line-feed', ['X-A: b\nContent-Length: 2'], '{}'],
    ['nul-in-a-header', ['X-A: \u0000'], ''],
    ['two-hosts', ['Host: other.example', 'Content-Length: 2'], '{}'],
    ['two-keys', ['Idempotency-Key: a', 'Idempotency-Key: b', 'Content-Length: 2'], '{}'],
    ['two-types', ['Content-Type: text/plain', 'Content-Length: 2'], '{}'],
  ] as const) {
    await t.test(attack, async (t) => {
      const before = await sessions();
      const { status } = await rawRequest(url, ['POST /v1/sessions HTTP/1.1', host, json, ...head], body);
      t.ok(status === 400 || status === 501, `${status}`);
      t.equal(await sessions(), before, 'nothing was made of it');
    });
  }

  await t.test('a-smuggled-request: what stands behind a refused one is not a request', async (t) => {
    const inner = `DELETE /v1/sessions/x HTTP/1.1\r\n${host}\r\n\r\n`;
    const said = await exchange(
      url,
      `POST /v1/sessions HTTP/1.1\r\n${host}\r\n${json}\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${inner}`,
    );
    t.equal(said.match(/HTTP\/1\.1 /g)?.length, 1, said);
  });

  for (const [attack, first, headers] of [
    ['dns-rebinding', 'GET /v1/sessions HTTP/1.1', ['Host: evil.example']],
    ['no-host', 'GET /v1/sessions HTTP/1.1', []],
    ['host-with-a-user', 'GET /v1/sessions HTTP/1.1', ['Host: localhost@evil.example']],
    ['host-that-begins-well', 'GET /v1/sessions HTTP/1.1', ['Host: localhost.evil.example']],
    ['another-page', 'GET /v1/sessions HTTP/1.1', [host, 'Origin: https://evil.example']],
    ['no-page', 'GET /v1/sessions HTTP/1.1', [host, 'Origin: null']],
    ['connect', 'CONNECT 169.254.169.254:80 HTTP/1.1', [host]],
    ['trace', 'TRACE /v1/sessions HTTP/1.1', [host]],
    ['an-invented-method', 'BREW /v1/sessions HTTP/1.1', [host]],
    ['a-method-in-small-letters', 'get /v1/sessions HTTP/1.1', [host]],
    ['a-later-http', 'GET /v1/sessions HTTP/3.0', [host]],
    ['http-2-without-asking', 'PRI * HTTP/2.0', []],
    ['a-header-of-64-kib', 'GET /v1/sessions HTTP/1.1', [host, `X-A: ${'a'.repeat(65_536)}`]],
    ['an-address-of-64-kib', `GET /v1/sessions?cursor=${'a'.repeat(65_536)} HTTP/1.1`, [host]],
    [
      'a-key-of-10-kib',
      'POST /v1/sessions HTTP/1.1',
      [host, json, `Idempotency-Key: ${'k'.repeat(10_000)}`, 'Content-Length: 2'],
    ],
    ['an-empty-key', 'POST /v1/sessions HTTP/1.1', [host, json, 'Idempotency-Key: ', 'Content-Length: 2']],
    ['upgrade-to-nonsense', 'GET /v1/events HTTP/1.1', [host, 'Connection: Upgrade', 'Upgrade: h2c']],
  ] as const) {
    await t.test(attack, async (t) => {
      const reply = await rawRequest(
        url,
        [first, ...headers, 'Connection: close'],
        first.startsWith('POST') ? '{}' : '',
      );
      t.ok(reply.status === 0 || reply.status >= 400, `${reply.status}`);
      t.ok(reply.status < 500 || reply.status === 505 || reply.status === 501, reply.body);
      t.notMatch(reply.body, /"items"|"sessionId"/);
      t.ok(await isFine());
    });
  }

  await t.test(
    'another-host-in-the-address: the Host header decides, and the address is only a path',
    async (t) => {
      const reply = await rawRequest(url, [
        'GET http://evil.example/v1/sessions HTTP/1.1',
        host,
        'Connection: close',
      ]);
      t.ok(reply.status === 200 || reply.status >= 400, String(reply.status));
      const other = await rawRequest(url, [
        `GET ${url}/v1/sessions HTTP/1.1`,
        'Host: evil.example',
        'Connection: close',
      ]);
      t.ok(other.status >= 400, String(other.status));
    },
  );

  await t.test('a-request-id-with-a-header-in-it: is not sent back', async (t) => {
    const reply = await rawRequest(url, [
      'GET /healthz HTTP/1.1',
      host,
      'X-Request-Id: a%0d%0aX-B: c\u0085d',
      'Connection: close',
    ]);
    t.notMatch(reply.head, /X-B/i);
    t.match(reply.head, /x-request-id: [0-9a-f-]{36}/i);
  });

  await t.test('one-key-fifty-times-at-once: one session is made', async (t) => {
    const before = await sessions();
    const replies = await Promise.all(
      Array.from({ length: 50 }, () =>
        world.call('POST', '/v1/sessions', { userId: 'same' }, { 'idempotency-key': 'fifty' }),
      ),
    );
    t.ok(
      replies.every(({ status }) => status === 201 || status === 409),
      JSON.stringify(replies.map(({ status }) => status)),
    );
    t.equal(await sessions(), before + 1);
    t.equal(
      (await world.call('POST', '/v1/sessions', { userId: 'other' }, { 'idempotency-key': 'fifty' })).status,
      422,
    );
  });

  await t.test('a-thousand-in-one-go: pipelined requests are each answered, in order', async (t) => {
    const one = `GET /healthz HTTP/1.1\r\n${host}\r\n\r\n`;
    const isEnough = (said: string) => (said.match(/HTTP\/1\.1 200/g)?.length ?? 0) === 1000;
    t.ok(isEnough(await exchange(url, one.repeat(1000), isEnough)));
  });

  await t.test('slowloris: hundreds of requests that never end delay nobody, and not the stop', async (t) => {
    const open = Array.from({ length: 300 }, (_, index) => {
      const socket = openRaw(url);
      socket.write(
        index % 2
          ? `GET /v1/sessions HTTP/1.1\r\n${host}\r\nX-A: `
          : `POST /v1/sessions HTTP/1.1\r\n${host}\r\n${json}\r\nContent-Length: 100\r\n\r\n{`,
      );
      return socket;
    });
    t.ok(await isFine());
    const began = performance.now();
    await world.restart();
    t.ok(performance.now() - began < 30_000);
    t.equal((await world.call('GET', '/v1/sessions')).status, 200);
    for (const socket of open) socket.destroy();
  });
});
