import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { createServer as createHttpServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { type EgressOptions, EgressProxy } from '../../src/sandbox/egress.js';
import { EGRESS_LIMITS, EgressBudget, type EgressLimits } from '../../src/sandbox/egress-budget.js';
import type { SingleDecision } from '../../src/sandbox/egress-decisions.js';
import { greeting } from '../helpers/tls-greeting.js';

const log = pino({ level: 'silent' });

/** A short path: a Unix socket's may have 107 bytes. */
function shortDirectory(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'egress-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const budget = (limits: Partial<EgressLimits> = {}) => new EgressBudget({ ...EGRESS_LIMITS, ...limits });

async function startProxy(
  t: Test,
  allow: readonly string[],
  { limits = {}, ...options }: Partial<EgressOptions> & { limits?: Partial<EgressLimits> } = {},
) {
  const socketPath = join(shortDirectory(t), 'egress.sock');
  const decisions: SingleDecision[] = [];
  const proxy = new EgressProxy({
    socketPath,
    policy: { allow, mayBePrivate: allow },
    log,
    budget: budget(limits),
    onDecision: (decision) => decisions.push(decision),
    ...options,
  });
  await proxy.start();
  t.teardown(() => proxy.close());
  return { proxy, socketPath, decisions };
}

interface Seen {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** An origin that answers with what it saw. */
async function startOrigin(t: Test) {
  const seen: Seen[] = [];
  const server = createHttpServer(async (request, response) => {
    const { method, url, headers } = request;
    const body = await text(request).catch(() => '(aborted)');
    seen.push({ method, url, headers, body });
    response.writeHead(200, { 'x-origin': 'yes', 'set-cookie': ['a=1', 'b=2'], 'keep-alive': 'timeout=9' });
    response.end(`saw ${method} ${url} ${body.length}`);
  });
  const port = await listen(t, server);
  return { port, seen };
}

async function listen(t: Test, server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** Says the bytes to the proxy and gives all it answers. */
async function say(socketPath: string, bytes: string | Buffer): Promise<string> {
  const socket = connect({ path: socketPath, allowHalfOpen: true });
  socket.on('error', () => {});
  socket.write(bytes);
  const answer = (await buffer(socket).catch(() => Buffer.alloc(0))).toString('latin1');
  socket.destroy();
  return answer;
}

const get = (url: string, headers = '') => `GET ${url} HTTP/1.1\r\nHost: ignored.example\r\n${headers}\r\n`;
const statusOf = (answer: string) => Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1]);

async function until(what: string, isSo: () => boolean) {
  for (const end = Date.now() + 10_000; !isSo(); await sleep(2)) {
    if (Date.now() > end) throw new Error(`waited in vain for: ${what}`);
  }
}

t.test('a listed host is reached by an absolute URL, with the Host of that URL', async (t) => {
  const { port, seen } = await startOrigin(t);
  const { socketPath, decisions } = await startProxy(t, [`127.0.0.1:${port}`]);
  const answer = await say(socketPath, get(`http://127.0.0.1:${port}/a/../b?c=d`, 'X-Mine: 1\r\n'));
  t.equal(statusOf(answer), 200);
  t.match(answer, /saw GET \/b\?c=d 0/);
  t.match(answer, /set-cookie: a=1\r\nset-cookie: b=2/i);
  t.equal(seen[0]?.headers.host, `127.0.0.1:${port}`);
  t.equal(seen[0]?.headers['x-mine'], '1');
  t.same(decisions, [{ allowed: true, host: '127.0.0.1', port, reason: 'in the allowlist' }]);
});

t.test('headers for one hop end at the proxy, in both directions', async (t) => {
  const { port, seen } = await startOrigin(t);
  const { socketPath } = await startProxy(t, [`127.0.0.1:${port}`]);
  const answer = await say(
    socketPath,
    get(
      `http://127.0.0.1:${port}/`,
      'Proxy-Authorization: Basic x\r\nProxy-Connection: keep-alive\r\nConnection: X-Secret\r\nX-Secret: 1\r\nTE: trailers\r\nUpgrade: websocket\r\nX-Kept: 1\r\n',
    ),
  );
  t.equal(statusOf(answer), 200);
  t.notMatch(answer, /timeout=9/);
  t.same(Object.keys(seen[0]!.headers).sort(), ['connection', 'host', 'x-kept']);
  t.equal(seen[0]?.headers.connection, 'close');
});

t.test('bodies go up whole, counted or chunked', async (t) => {
  const { port, seen } = await startOrigin(t);
  const { socketPath } = await startProxy(t, [`127.0.0.1:${port}`]);
  const post = (headers: string, body: string) =>
    say(socketPath, `POST http://127.0.0.1:${port}/ HTTP/1.1\r\nHost: x\r\n${headers}\r\n\r\n${body}`);
  t.equal(statusOf(await post('Content-Length: 5', 'hello')), 200);
  t.equal(statusOf(await post('Transfer-Encoding: chunked', '5\r\nhello\r\n0\r\n\r\n')), 200);
  t.same(
    seen.map(({ body }) => body),
    ['hello', 'hello'],
  );
});

t.test('CONNECT carries bytes both ways, and the end of one direction alone', async (t) => {
  const echoAtEnd = createServer({ allowHalfOpen: true }, (socket) => {
    const chunks: Buffer[] = [Buffer.from('got ')];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('end', () => socket.end(Buffer.concat(chunks)));
  });
  const port = await listen(t, echoAtEnd);
  const { socketPath } = await startProxy(t, [`127.0.0.1:${port}`]);
  const socket = connect({ path: socketPath, allowHalfOpen: true });
  // The first bytes come together with the request, before the answer.
  socket.write(`CONNECT 127.0.0.1:${port} HTTP/1.1\r\n\r\nearly `);
  await once(socket, 'data');
  const big = Buffer.alloc(3_000_000, 'x');
  const answer = buffer(socket);
  socket.end(big);
  t.equal((await answer).toString(), `got early ${big}`);
});

t.test('a tunnel whose TLS greeting asks for another host is cut, and told of', async (t) => {
  const got: Buffer[] = [];
  const port = await listen(
    t,
    createServer((socket) => socket.on('data', (chunk) => got.push(chunk))),
  );
  const { socketPath, decisions } = await startProxy(t, [`allowed.example:${port}`], {
    lookUp: async () => ['127.0.0.1'],
  });
  const request = Buffer.from(`CONNECT allowed.example:${port} HTTP/1.1\r\n\r\n`);
  const other = Buffer.concat([request, await greeting('other.example')]);
  t.equal(statusOf(await say(socketPath, other)), 200);
  t.match(decisions.at(-1), { allowed: false, host: 'allowed.example', reason: /asks for another host/ });
  t.same(got, []);

  const own = await greeting('allowed.example');
  const socket = connect(socketPath);
  socket.write(Buffer.concat([request, own]));
  await until('the greeting arrived', () => Buffer.concat(got).equals(own));
  socket.destroy();
});

t.test('what is not listed is refused before its name is looked up', async (t) => {
  const { port } = await startOrigin(t);
  const looked: string[] = [];
  const lookUp = async (host: string) => {
    looked.push(host);
    return ['127.0.0.1'];
  };
  const { socketPath, decisions } = await startProxy(t, [`127.0.0.1:${port}`], { lookUp });
  for (const url of [
    `http://127.0.0.1:${port === 65_535 ? 1 : port + 1}/`,
    `http://localhost:${port}/`,
    `http://secret-data.attacker.example:${port}/`,
    'http://169.254.169.254/latest/meta-data/',
    'http://[::ffff:169.254.169.254]/',
    'http://[::1]/',
    'http://0/',
  ]) {
    t.equal(statusOf(await say(socketPath, get(url))), 403, url);
    const authority = new URL(url).host;
    const named = authority.includes(`:${port}`) ? authority : `${new URL(url).hostname}:80`;
    t.equal(statusOf(await say(socketPath, `CONNECT ${named} HTTP/1.1\r\n\r\n`)), 403, `CONNECT ${named}`);
  }
  t.same(looked, []);
  t.ok(decisions.every(({ allowed, reason }) => !allowed && reason === 'not in the allowlist'));
});

t.test('another spelling of a listed address is that address', async (t) => {
  const { port, seen } = await startOrigin(t);
  const { socketPath } = await startProxy(t, [`127.0.0.1:${port}`]);
  for (const host of ['2130706433', '0x7f.1', '0177.0.0.1']) {
    t.equal(statusOf(await say(socketPath, get(`http://${host}:${port}/`))), 200, host);
  }
  t.ok(seen.every(({ headers }) => headers.host === `127.0.0.1:${port}`));
});

t.test('a name that leads to a private address is refused, unless the operator listed it', async (t) => {
  const { port, seen } = await startOrigin(t);
  const inward: Record<string, string[]> = {
    'loopback.example': ['127.0.0.1'],
    'mapped.example': ['::ffff:127.0.0.1'],
    'translated.example': ['64:ff9b::7f00:1'],
    'lan.example': ['192.168.1.1', '10.0.0.1'],
    'metadata.example': ['169.254.169.254'],
    'metadata6.example': ['fd00:ec2::254'],
    'nowhere.example': [],
  };
  const lookUp = async (host: string) => inward[host] ?? [];
  const { proxy, socketPath, decisions } = await startProxy(t, [`*.example:${port}`], {
    lookUp,
    policy: { allow: [`*.example:${port}`], mayBePrivate: [] },
  });
  for (const host of Object.keys(inward)) {
    t.equal(statusOf(await say(socketPath, get(`http://${host}:${port}/`))), 403, host);
  }
  t.ok(decisions.every(({ allowed }) => !allowed));
  t.equal(seen.length, 0);

  proxy.setPolicy({ allow: [`*.example:${port}`], mayBePrivate: [`*.example:${port}`] });
  t.equal(statusOf(await say(socketPath, get(`http://loopback.example:${port}/`))), 200);
  t.equal(statusOf(await say(socketPath, get(`http://metadata.example:${port}/`))), 403, 'metadata never');
  t.equal(statusOf(await say(socketPath, get(`http://metadata6.example:${port}/`))), 403, 'metadata never');
});

t.test('DNS rebinding: a name is looked up once, and the checked address is used', async (t) => {
  const { port, seen } = await startOrigin(t);
  const answers = [['127.0.0.1'], ['169.254.169.254']];
  let asked = 0;
  const lookUp = async () => answers[asked++]!;
  const { socketPath } = await startProxy(t, [`rebind.example:${port}`], { lookUp });
  t.equal(statusOf(await say(socketPath, get(`http://rebind.example:${port}/`))), 200);
  t.equal(asked, 1);
  t.equal(seen.length, 1);
  t.equal(statusOf(await say(socketPath, get(`http://rebind.example:${port}/`))), 403);
});

t.test('an answer with a forbidden address beside a good one leads to the good one', async (t) => {
  const { port, seen } = await startOrigin(t);
  const lookUp = async () => ['169.254.169.254', '127.0.0.1'];
  const { socketPath } = await startProxy(t, [`mixed.example:${port}`], { lookUp });
  t.equal(statusOf(await say(socketPath, get(`http://mixed.example:${port}/`))), 200);
  t.equal(seen.length, 1);
});

t.test('the service itself is never reachable, under any name', async (t) => {
  const { port, seen } = await startOrigin(t);
  for (const listening of [`127.0.0.1:${port}`, `0.0.0.0:${port}`, `[::]:${port}`]) {
    const { socketPath, decisions } = await startProxy(t, ['self.example:*', '127.0.0.1:*', '[::1]:*'], {
      forbid: () => [listening],
      lookUp: async () => ['127.0.0.1', '::1', '::ffff:127.0.0.1', '127.0.0.2'],
    });
    for (const host of ['self.example', '127.0.0.1', '[::1]']) {
      t.equal(
        statusOf(await say(socketPath, get(`http://${host}:${port}/`))),
        403,
        `${host} for ${listening}`,
      );
    }
    t.ok(decisions.every(({ reason }) => reason === 'the address is the service itself'));
  }
  t.equal(seen.length, 0);
});

t.test('header smuggling: no request is read as two, and no host but the checked one is named', async (t) => {
  const { port, seen } = await startOrigin(t);
  const { socketPath } = await startProxy(t, [`127.0.0.1:${port}`]);
  const url = `http://127.0.0.1:${port}/`;
  const inner = 'GET /smuggled HTTP/1.1\r\nHost: evil.example\r\n\r\n';
  const attacks: Record<string, string> = {
    'length and chunked': `POST ${url} HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${inner}`,
    'two lengths': `POST ${url} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: ${inner.length}\r\n\r\n${inner}`,
    'other coding': `POST ${url} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n${inner}`,
    'obscured coding': `POST ${url} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n${inner}`,
    'bare line feed': `GET ${url} HTTP/1.1\nHost: x\nX: y\n\n${inner}`,
    'folded header': `GET ${url} HTTP/1.1\r\nHost: x\r\nX: y\r\n Host: evil.example\r\n\r\n`,
    'user name': get(`http://127.0.0.1:${port}@evil.example/`),
    'user name the other way': get(`http://evil.example@127.0.0.1:${port}/`),
    'empty user name': get(`http://@127.0.0.1:${port}/`),
    backslash: get(`http://127.0.0.1:${port}\\@evil.example/`),
    fragment: get(`http://127.0.0.1:${port}#@evil.example/`),
    'triple slash': get(`http:///127.0.0.1:${port}/`),
    'https without CONNECT': get(`https://127.0.0.1:${port}/`),
    'origin form': get('/'),
    'authority in CONNECT': `CONNECT evil.example@127.0.0.1:${port} HTTP/1.1\r\n\r\n`,
    'path in CONNECT': `CONNECT 127.0.0.1:${port}/ HTTP/1.1\r\n\r\n`,
  };
  for (const [name, bytes] of Object.entries(attacks)) {
    const answer = await say(socketPath, bytes);
    const [first] = seen.splice(0);
    const isHarmless = statusOf(answer) === 400 || first?.headers.host === `127.0.0.1:${port}`;
    t.ok(isHarmless, `${name}: ${statusOf(answer)}`);
    t.notMatch(answer, /smuggled/, name);
  }
});

t.test('a length hidden behind Connection does not turn a body into a request', async (t) => {
  const { port, seen } = await startOrigin(t);
  const { socketPath } = await startProxy(t, [`127.0.0.1:${port}`]);
  const inner = 'GET /smuggled HTTP/1.1\r\nHost: evil.example\r\n\r\n';
  const answer = await say(
    socketPath,
    get(`http://127.0.0.1:${port}/`, `Connection: content-length\r\nContent-Length: ${inner.length}\r\n`) +
      inner,
  );
  t.equal(statusOf(answer), 200);
  const chunked = `${inner.length.toString(16)}\r\n${inner}\r\n0\r\n\r\n`;
  await say(socketPath, get(`http://127.0.0.1:${port}/`, 'Transfer-Encoding: chunked\r\n') + chunked);
  t.same(
    seen.map(({ url, body }) => [url, body]),
    [
      ['/', inner],
      ['/', inner],
    ],
  );
});

t.test('a second request on the same connection is not carried', async (t) => {
  const { port, seen } = await startOrigin(t);
  const { socketPath } = await startProxy(t, [`127.0.0.1:${port}`]);
  await say(socketPath, get(`http://127.0.0.1:${port}/one`) + get(`http://127.0.0.1:${port}/two`));
  t.same(
    seen.map(({ url }) => url),
    ['/one'],
  );
});

t.test('a policy change cuts connections to hosts that are no longer allowed, and only those', async (t) => {
  const echo = createServer((socket) => socket.pipe(socket));
  const other = createServer((socket) => socket.pipe(socket));
  const [kept, lost] = [await listen(t, echo), await listen(t, other)];
  const { proxy, socketPath, decisions } = await startProxy(t, [`127.0.0.1:${kept}`, `127.0.0.1:${lost}`]);
  const open = async (port: number) => {
    const socket = connect(socketPath);
    socket.on('error', () => {});
    socket.write(`CONNECT 127.0.0.1:${port} HTTP/1.1\r\n\r\n`);
    await once(socket, 'data');
    return socket;
  };
  const [stays, goes] = [await open(kept), await open(lost)];
  const closed = once(goes, 'close');
  proxy.setPolicy({ allow: [`127.0.0.1:${kept}`], mayBePrivate: [`127.0.0.1:${kept}`] });
  await closed;
  t.match(decisions.at(-1), { allowed: false, port: lost, reason: /no longer/ });
  stays.write('still there');
  t.equal(String((await once(stays, 'data'))[0]), 'still there');
  t.equal(statusOf(await say(socketPath, `CONNECT 127.0.0.1:${lost} HTTP/1.1\r\n\r\n`)), 403);
  const closedToo = once(stays, 'close');
  proxy.setPolicy({ allow: [`127.0.0.1:${kept}`], mayBePrivate: [] });
  await closedToo;
});

t.test('a policy change while the name is looked up counts', async (t) => {
  const { port, seen } = await startOrigin(t);
  let answer: ((addresses: string[]) => void) | undefined;
  const lookUp = () =>
    new Promise<string[]>((resolve) => {
      answer = resolve;
    });
  const { proxy, socketPath, decisions } = await startProxy(t, [`slow.example:${port}`], { lookUp });
  const said = say(socketPath, get(`http://slow.example:${port}/`));
  await until('the name is looked up', () => answer !== undefined);
  proxy.setPolicy({ allow: [], mayBePrivate: [] });
  answer?.(['127.0.0.1']);
  t.equal(statusOf(await said), 403);
  t.same(seen, []);
  t.equal(decisions.length, 1);
});

t.test('more bytes than the session may use are cut, and from then on everything is refused', async (t) => {
  const flood = createServer((socket) => {
    socket.on('error', () => {});
    const more = () => {
      while (socket.write(Buffer.alloc(65_536)));
    };
    socket.on('drain', more);
    more();
  });
  const port = await listen(t, flood);
  const { socketPath, decisions } = await startProxy(t, ['127.0.0.1:*'], { limits: { bytes: 1_000_000 } });
  const got = await say(socketPath, `CONNECT 127.0.0.1:${port} HTTP/1.1\r\n\r\n`);
  t.equal(statusOf(got), 200);
  t.ok(got.length <= 1_100_000, `${got.length} bytes`);
  const after = await say(socketPath, `CONNECT 127.0.0.1:${port} HTTP/1.1\r\n\r\n`);
  t.equal(statusOf(after), 403);
  const spent = { allowed: false, host: '127.0.0.1', port, reason: 'the session has used its 1000000 bytes' };
  t.same(decisions.slice(1), [spent, spent]);
});

t.test('a connection on which nothing moves is cut, half closed or not', async (t) => {
  const port = await listen(
    t,
    createServer({ allowHalfOpen: true }, (socket) => socket.on('error', () => {})),
  );
  const { socketPath } = await startProxy(t, ['127.0.0.1:*'], { limits: { idleMs: 100 } });
  const request = `CONNECT 127.0.0.1:${port} HTTP/1.1\r\n\r\n`;
  t.equal(statusOf(await say(socketPath, request)), 200);
  const half = connect({ path: socketPath, allowHalfOpen: true }).on('error', () => {});
  half.end(request);
  half.resume();
  await once(half, 'close');
});

t.test('above the limit of connections new ones are refused, and told of', async (t) => {
  const { socketPath, decisions } = await startProxy(t, [], { limits: { connections: 2 } });
  const held = [connect(socketPath), connect(socketPath)];
  await Promise.all(held.map((socket) => once(socket, 'connect')));
  t.match(await say(socketPath, ''), /^HTTP\/1\.1 503 .*more than 2 connections at once\n$/s);
  const reason = 'more than 2 connections at once';
  t.same(decisions, [{ allowed: false, host: null, port: null, reason }]);
  for (const socket of held) socket.destroy();
  await Promise.all(held.map((socket) => socket.closed || once(socket, 'close')));
  for (let status = 503; status === 503; )
    status = statusOf(await say(socketPath, get('http://127.0.0.1/'))) || 503;
});

t.test('a head that is too large or never whole is refused, and told of', async (t) => {
  const { socketPath, decisions } = await startProxy(t, [], { limits: { headMs: 100 } });
  const large = await say(socketPath, get('http://127.0.0.1/', `X: ${'x'.repeat(20_000)}\r\n`));
  const slow = await say(socketPath, 'GET http://127.0.0.1/ HTTP/1.1\r\nX: ');
  t.same([statusOf(large), statusOf(slow)], [400, 400]);
  t.same(
    decisions.map(({ reason }) => reason),
    ['the head of the request is too large', 'the head of the request took too long'],
  );
});

t.test('a flood of refusals is slowed down, not left out', async (t) => {
  const { socketPath, decisions } = await startProxy(t, []);
  const begun = performance.now();
  await Promise.all(Array.from({ length: 60 }, () => say(socketPath, get('http://127.0.0.1/'))));
  t.equal(decisions.length, 60);
  t.ok(performance.now() - begun >= 150, 'the burst is 50, the rest wait their turn');
});

t.test('a destination that cannot be reached is a 502', async (t) => {
  const gone = createServer();
  const port = await listen(t, gone);
  await new Promise((resolve) => gone.close(resolve));
  const { socketPath } = await startProxy(t, [`127.0.0.1:${port}`]);
  t.equal(statusOf(await say(socketPath, get(`http://127.0.0.1:${port}/`))), 502);
  t.equal(statusOf(await say(socketPath, `CONNECT 127.0.0.1:${port} HTTP/1.1\r\n\r\n`)), 502);
});

t.test('an answer that is none is a 502, and nobody waits for more', async (t) => {
  for (const answer of [
    'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n',
    'HTTP/1.1 101 Switching Protocols\r\n\r\n',
    'HTTP/1.1 100 Continue\r\n\r\n',
    'HTTP/1.1 103 Early Hints\r\n\r\n',
    'no HTTP\r\n\r\n',
    '',
  ]) {
    // The connection stays open where only the proxy can end it.
    const isOver = !answer.includes(' 101 ');
    const origin = createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => (isOver ? socket.end(answer) : socket.write(answer)));
    });
    const port = await listen(t, origin);
    const { socketPath } = await startProxy(t, [`127.0.0.1:${port}`]);
    t.equal(statusOf(await say(socketPath, get(`http://127.0.0.1:${port}/`))), 502, answer);
  }
});

t.test('a response that breaks off does not look complete', async (t) => {
  const origin = createServer((socket) => {
    socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf'));
  });
  const port = await listen(t, origin);
  const { socketPath } = await startProxy(t, [`127.0.0.1:${port}`]);
  const answer = await say(socketPath, get(`http://127.0.0.1:${port}/`));
  t.notMatch(answer, /\r\n0\r\n\r\n$/);
  if (answer !== '') t.match(answer, /content-length: 100/i);
});

t.test('the socket is for its owner, replaces a leftover, and is gone after close', async (t) => {
  const first = await startProxy(t, []);
  t.equal(statSync(first.socketPath).mode & 0o777, 0o600);
  const second = new EgressProxy({
    socketPath: first.socketPath,
    owner: process.getuid!(),
    policy: { allow: [], mayBePrivate: [] },
    log,
    budget: budget(),
    onDecision: () => {},
  });
  t.equal(second.start(), second.start());
  await second.start();
  t.equal(statSync(first.socketPath).mode & 0o777, 0o600);
  const idle = connect(first.socketPath);
  idle.on('error', () => {});
  await once(idle, 'connect');
  const closed = once(idle, 'close');
  t.equal(second.close(), second.close());
  await second.close();
  await closed;
  t.notOk(existsSync(first.socketPath));
});

t.test('a wrong allowlist is an error and not an empty one', async (t) => {
  t.throws(
    () =>
      new EgressProxy({
        socketPath: '/x',
        policy: { allow: ['example.com'], mayBePrivate: [] },
        log,
        budget: budget(),
        onDecision: () => {},
      }),
    /example\.com/,
  );
});
