// The way out, tried from inside: a program in a sandbox with an allowlist reaches what is listed, and nothing else.
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import t, { type Test } from 'tap';
import { run, sandboxSpec, startDriver } from '../helpers/sandboxes.js';

async function listen(t: Test, server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  return (server.address() as AddressInfo).port;
}

const NO_SANDBOX = 'no sandbox can be made on this host';

/** What each of these says: the status of a proxy's answer, or the name of the error. */
const ATTEMPTS = (port: number, other: number) => `
import errno, socket
def proxied(line):
    with socket.create_connection(('127.0.0.1', 3128), 5) as s:
        s.sendall((line + ' HTTP/1.1\\r\\nHost: evil.example\\r\\n\\r\\n').encode())
        return s.recv(65536).split(b' ')[1].decode()
def direct(kind, *address):
    family = socket.AF_INET6 if ':' in address[0] else socket.AF_INET
    with socket.socket(family, kind) as s:
        s.settimeout(5)
        s.connect(address)
        s.send(b'x')
        return 'reached'
def name(host):
    return socket.getaddrinfo(host, 80)
def say(label, attempt, *args):
    try: print(label, attempt(*args))
    except OSError as error: print(label, errno.errorcode.get(error.errno, type(error).__name__))
say('listed', proxied, 'GET http://127.0.0.1:${port}/')
say('listed-connect', proxied, 'CONNECT 127.0.0.1:${port}')
say('decimal', proxied, 'GET http://2130706433:${other}/')
say('other-port', proxied, 'GET http://127.0.0.1:${other}/')
say('other-name', proxied, 'GET http://localhost:${port}/')
say('metadata', proxied, 'GET http://169.254.169.254/latest/meta-data/')
say('metadata-mapped', proxied, 'GET http://[::ffff:169.254.169.254]/')
say('metadata-connect', proxied, 'CONNECT 169.254.169.254:80')
say('userinfo', proxied, 'GET http://127.0.0.1:${port}@169.254.169.254/')
say('direct-tcp', direct, socket.SOCK_STREAM, '127.0.0.1', ${port})
say('direct-metadata', direct, socket.SOCK_STREAM, '169.254.169.254', 80)
say('direct-internet', direct, socket.SOCK_STREAM, '8.8.8.8', 53)
say('direct-internet6', direct, socket.SOCK_STREAM, '2001:4860:4860::8888', 53)
say('direct-udp', direct, socket.SOCK_DGRAM, '8.8.8.8', 53)
say('dns', name, 'example.com')
`;

const EXPECTED = {
  listed: '200',
  'listed-connect': '200',
  decimal: '403',
  'other-port': '403',
  'other-name': '403',
  metadata: '403',
  'metadata-mapped': '403',
  'metadata-connect': '403',
  userinfo: '400',
  'direct-tcp': 'ECONNREFUSED',
  'direct-metadata': 'ENETUNREACH',
  'direct-internet': 'ENETUNREACH',
  'direct-internet6': 'ENETUNREACH',
  'direct-udp': 'ENETUNREACH',
};

const answers = ({ stdout }: { stdout: string }) =>
  Object.fromEntries(
    stdout.split('\n').flatMap((line) => (line ? [line.split(' ') as [string, string]] : [])),
  );

t.test('with an allowlist only what is listed is reached', async (t) => {
  const driver = await startDriver(t);
  if (driver.isolation.level === null) return t.pass('not tried', { skip: NO_SANDBOX });
  const seen: (string | undefined)[] = [];
  const port = await listen(
    t,
    createHttpServer((request, response) => {
      seen.push(request.headers.host);
      response.end('origin');
    }),
  );
  const other = await listen(
    t,
    createServer((socket) => socket.end('other')),
  );
  const allow = [`127.0.0.1:${port}`];
  const egress = { allow, mayBePrivate: allow };
  const sandbox = await driver.create(sandboxSpec({ egress }));
  const { dns, ...rest } = answers(await run(sandbox, ATTEMPTS(port, other)));
  t.same(rest, EXPECTED);
  t.match(dns, /gaierror|EAI|ENO|E[A-Z]+/, 'names are not looked up inside');
  t.same(seen, [`127.0.0.1:${port}`]);

  sandbox.setEgress({ allow: [], mayBePrivate: [] });
  const after = answers(await run(sandbox, ATTEMPTS(port, other)));
  t.notMatch(after, { listed: '200' }, `after the change: ${after.listed}`);
  t.notMatch(after, { 'listed-connect': '200' });
  t.equal(seen.length, 1);

  sandbox.setEgress(egress);
  const back = await run(sandbox, ATTEMPTS(port, other));
  t.equal(answers(back).listed, '200', `and back, without a restart: ${JSON.stringify(back)}`);
  await sandbox.remove();
});

t.test('the service itself is not reached, though it is listed', async (t) => {
  const seen: string[] = [];
  const port = await listen(
    t,
    createHttpServer((request, response) => {
      seen.push(request.url ?? '');
      response.end('service');
    }),
  );
  const driver = await startDriver(t, { ownAddresses: () => [`127.0.0.1:${port}`] });
  if (driver.isolation.level === null) return t.pass('not tried', { skip: NO_SANDBOX });
  const allow = ['127.0.0.1:*', 'localhost:*'];
  const egress = { allow, mayBePrivate: allow };
  const sandbox = await driver.create(sandboxSpec({ egress }));
  const said = answers(await run(sandbox, ATTEMPTS(port, port)));
  t.match(said, { listed: '403', 'listed-connect': '403', decimal: '403', 'other-name': '403' });
  t.same(seen, []);
  await sandbox.remove();
});
