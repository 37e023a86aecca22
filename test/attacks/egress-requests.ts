// Requests that mean one thing to the proxy's eye and another to somebody else's, said by a program in a session: each
// must be refused, or arrive as the one request to the one host that was checked.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { startService } from '../helpers/world.js';

interface Attack {
  readonly name: string;
  readonly bytes: string;
  /** Statuses that are harmless; with 200 the origin is asked too. */
  readonly allowed: readonly number[];
}

const END = '\r\n\r\n';
const SMUGGLED = `GET /smuggled HTTP/1.1\r\nHost: other.example${END}`;

function attacks(port: number, otherPort: number, ownPort: number): Attack[] {
  const url = `http://127.0.0.2:${port}/`;
  const http = (name: string, bytes: string, ...allowed: number[]): Attack => ({ name, bytes, allowed });
  const get = (name: string, target: string, ...allowed: number[]) =>
    http(name, `GET ${target} HTTP/1.1\r\nHost: x${END}`, ...allowed);
  const to = (name: string, authority: string, ...allowed: number[]) =>
    http(name, `CONNECT ${authority} HTTP/1.1${END}`, ...allowed);
  const post = (name: string, headers: string, ...allowed: number[]) =>
    http(name, `POST ${url} HTTP/1.1\r\nHost: x\r\n${headers}${END}0${END}${SMUGGLED}`, ...allowed);
  return [
    post('smuggling by length and chunks', 'Content-Length: 6\r\nTransfer-Encoding: chunked', 400),
    post('smuggling by chunks and length', 'Transfer-Encoding: chunked\r\nContent-Length: 6', 400),
    post('smuggling by two lengths', 'Content-Length: 5\r\nContent-Length: 6', 400),
    post('smuggling by a signed length', 'Content-Length: +5', 400),
    post('smuggling by a length in hexadecimal', 'Content-Length: 0x5', 400),
    post('smuggling by a list of lengths', 'Content-Length: 5, 5', 400),
    post('smuggling by two codings', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity', 400),
    post('smuggling by an unknown coding', 'Transfer-Encoding: xchunked', 400),
    post('smuggling by a space before the colon', 'Transfer-Encoding : chunked', 400),
    post('smuggling by a folded coding', 'Transfer-Encoding:\r\n chunked', 400, 200),
    post('smuggling by a bare carriage return', 'X: y\rTransfer-Encoding: chunked', 400),
    post('smuggling by a null byte', 'X: y\0Transfer-Encoding: chunked', 400),
    http('smuggling by bare line feeds', `GET ${url} HTTP/1.1\nHost: x\nX: y\n\n${SMUGGLED}`, 400, 200),
    http(
      'smuggling by the size of a chunk',
      `POST ${url} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked${END}fffffffffffffff1\r\n${SMUGGLED}`,
      400,
      502,
      200,
    ),
    http('pipelining a second request', `GET ${url} HTTP/1.1\r\nHost: x${END}${SMUGGLED}`, 200),
    http(
      'pipelining a request to another host',
      `GET ${url} HTTP/1.1\r\nHost: x${END}GET http://127.0.0.2:${otherPort}/smuggled HTTP/1.1\r\nHost: x${END}`,
      200,
    ),
    http('another name in Host', `GET ${url} HTTP/1.1\r\nHost: other.example${END}`, 200),
    http('two Hosts', `GET ${url} HTTP/1.1\r\nHost: a.example\r\nHost: b.example${END}`, 400, 200),
    http('no Host', `GET ${url} HTTP/1.0${END}`, 200, 400),
    http(
      'an upgrade to another protocol',
      `GET ${url} HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c${END}`,
      200,
      400,
    ),
    http('the preface of HTTP/2', `PRI * HTTP/2.0${END}SM${END}`, 400),
    http('a greeting of SOCKS', '\x05\x01\x00', 400),
    get('a path and no host', '/', 400),
    get('an asterisk for a target', '*', 400),
    get('another scheme', `file:///etc/passwd`, 400),
    get('a scheme that is left out', `//127.0.0.2:${port}/`, 400),
    get('a user name before the host', `http://127.0.0.2:${port}@127.0.0.2:${otherPort}/`, 400),
    get('a backslash for a slash', `http://127.0.0.2:${port}\\@127.0.0.2:${otherPort}/`, 400),
    get('a fragment before the host ends', `http://127.0.0.2:${port}#@127.0.0.2:${otherPort}/`, 400),
    get('an encoded dot in the host', `http://127%2e0.0.2:${otherPort}/`, 403, 400),
    get('a tab in the host', `http://127.0.0\t.2:${port}/`, 400),
    get('a host without end', `http://${'a'.repeat(5000)}.example/`, 400),
    to('CONNECT with a user name', `127.0.0.2:${port}@127.0.0.2:${otherPort}`, 400),
    to('CONNECT with a path', `127.0.0.2:${port}/`, 400),
    to('CONNECT with a scheme', url, 400),
    to('CONNECT without a port', '127.0.0.2', 400),
    to('CONNECT to port 0', '127.0.0.2:0', 400),
    to('CONNECT to a port that overflows into another', `127.0.0.2:${65_536 + port}`, 400),
    to('CONNECT to a port with a sign', `127.0.0.2:+${port}`, 400),
    to('CONNECT to an address with a zone', `[fe80::1%25lo]:${port}`, 400),
    to('CONNECT to an address with a bare zone', `[fe80::1%lo]:${port}`, 400),
    to('CONNECT to the metadata address', '169.254.169.254:80', 403),
    to('CONNECT to the metadata address in decimal', '2852039166:80', 403),
    to('CONNECT to the metadata address in octal', '0251.0376.0251.0376:80', 403),
    to('CONNECT to the metadata address in hexadecimal', '0xa9fea9fe:80', 403),
    to('CONNECT to the metadata address mapped into IPv6', '[::ffff:169.254.169.254]:80', 403),
    to('CONNECT to the metadata address through NAT64', '[64:ff9b::a9fe:a9fe]:80', 403),
    to('CONNECT to loopback in few digits', `127.2:${otherPort}`, 403),
    to('CONNECT to nowhere, which is here', `0.0.0.0:${port}`, 403),
    to('CONNECT to nowhere in IPv6', `[::]:${port}`, 403),
    to('CONNECT to a name in other letters', `ａｌｌｏｗｅｄ.example:${port}`, 400, 403),
    to('CONNECT to a punycode lookalike', `xn--llowed-8ya.example:${port}`, 403, 400),
    get('the service itself', `http://127.0.0.1:${ownPort}/v1/sessions`, 403),
    get('the service at another address of this machine', `http://127.0.0.2:${ownPort}/v1/sessions`, 403),
    to('CONNECT to the service itself', `127.0.0.1:${ownPort}`, 403),
    to('CONNECT to the service mapped into IPv6', `[::ffff:127.0.0.1]:${ownPort}`, 403),
    // Another spelling of what is listed is what is listed: it may be reached, and is what was checked.
    to('CONNECT to the listed address with a dot at its end', `127.0.0.2.:${port}`, 400, 200, 403),
    to('CONNECT to the listed address in hexadecimal', `0x7f000002:${port}`, 200),
    to('CONNECT to the listed address with zeros in its port', `127.0.0.2:00${port}`, 400, 200),
  ];
}

const PROGRAM = (list: readonly Attack[]) => `
import base64, json, socket
for n, bytes in enumerate(json.loads(r'''${JSON.stringify(list.map(({ bytes }) => Buffer.from(bytes).toString('base64')))}''')):
    with socket.create_connection(('127.0.0.1', 3128)) as s:
        s.settimeout(20)
        s.sendall(base64.b64decode(bytes))
        try:
            said = b''
            while b'\\r\\n' not in said:
                more = s.recv(65536)
                if not more: break
                said += more
            print(n, said.split(b' ')[1].decode() if said else 'nothing')
        except OSError as error: print(n, type(error).__name__)
`;

t.test('what a program in a session says to the proxy', async (t) => {
  const seen: { host: string | undefined; url: string | undefined }[] = [];
  const listen = async (host: string) => {
    const server = createServer((request, response) => {
      seen.push({ host: request.headers.host, url: request.url });
      request.resume();
      response.end('origin');
    });
    server.on('clientError', (_error, socket) => socket.destroy());
    await new Promise<void>((resolve) => server.listen(0, host, resolve));
    t.teardown(() => {
      server.closeAllConnections();
      server.close();
    });
    return (server.address() as AddressInfo).port;
  };
  const [port, otherPort] = [await listen('127.0.0.2'), await listen('127.0.0.2')];
  const world = await startService(t, { EGRESS_PRIVATE_HOSTS: '127.0.0.1:*,127.0.0.2:*' });
  const ownPort = Number(new URL(world.url).port);
  const own = [`127.0.0.1:${ownPort}`, `127.0.0.2:${ownPort}`];
  const hosts = [`127.0.0.2:${port}`, `allowed.example:${port}`, ...own];
  const { sessionId } = await world.session({ network: { mode: 'allowlist', hosts } });
  const list = attacks(port, otherPort, ownPort);
  const task = await world.python(sessionId, PROGRAM(list));
  t.equal(task.status, 'success', JSON.stringify(task.outputs));
  const statuses = String(task.outputs?.stdout)
    .trim()
    .split('\n')
    .map((line) => Number(line.split(' ')[1]));
  for (const [index, { name, allowed }] of list.entries()) {
    await t.test(name, async (t) => {
      t.ok(allowed.includes(statuses[index]!), `${statuses[index]}`);
    });
  }
  t.same(
    seen.filter(({ host, url }) => host !== `127.0.0.2:${port}` || url !== '/'),
    [],
    'only the checked host was named, and nothing was smuggled',
  );
  const arrived = statuses.filter((status, index) => status === 200 && !/CONNECT/.test(list[index]!.name));
  t.equal(seen.length, arrived.length, 'one request for each answer');
});
