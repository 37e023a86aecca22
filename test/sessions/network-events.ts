// The way out of a session over REST, with a real Python client inside: what it reaches, what is told of it, and what a
// change of the allowlist does while a program runs.
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import type { Event } from '../../src/events/schema.js';
import { eventsOf, startService, until, type World } from '../helpers/world.js';

/** An address of this machine that `no_proxy` does not name. */
const HOST = '127.0.0.2';

async function listen(t: Test, server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => sockets.add(socket.on('error', () => {})));
  await new Promise<void>((resolve) => server.listen(0, HOST, resolve));
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

const GET = (port: number) => `
import urllib.request, urllib.error
try: print(urllib.request.urlopen('http://${HOST}:${port}/', timeout=20).read().decode())
except OSError as error: print(type(error).__name__, getattr(error, 'code', ''))`;

const networkEvents = async (world: World, sessionId: string) =>
  (await eventsOf(world, sessionId)).flatMap((event: Event) =>
    event.type === 'session.network' ? [event.data] : [],
  );

t.test('what a session may reach changes while it runs', async (t) => {
  const port = await listen(
    t,
    createServer((_request, response) => response.end('origin')),
  );
  const tunnels: Socket[] = [];
  const tunnelPort = await listen(
    t,
    createTcpServer((socket) => {
      tunnels.push(socket);
      socket.pipe(socket);
    }),
  );
  const world = await startService(t, { EGRESS_PRIVATE_HOSTS: `${HOST}:${port},${HOST}:${tunnelPort}` });
  const { sessionId } = await world.session({ concurrency: 2 });
  const path = `/v1/sessions/${sessionId}`;
  const setHosts = (...hosts: string[]) =>
    world.call('PATCH', path, {
      network: hosts.length > 0 ? { mode: 'allowlist', hosts } : { mode: 'none' },
    });
  const reach = async () => (await world.python(sessionId, GET(port))).outputs?.stdout;

  t.match(await reach(), /^URLError/, 'nothing is reached without an allowlist');

  t.equal((await setHosts(`${HOST}:${port}`, `${HOST}:${tunnelPort}`)).status, 200);
  t.equal(await reach(), 'origin\n');

  // One program holds a tunnel open and keeps trying over it, until it is told that the other end is gone.
  const held = await world.submit(sessionId, 'run.python', {
    code: `
import socket
s = socket.create_connection(('127.0.0.1', 3128))
s.sendall(b'CONNECT ${HOST}:${tunnelPort} HTTP/1.1\\r\\n\\r\\n')
print(s.recv(65536).split(b'\\r\\n')[0].decode(), flush=True)
s.sendall(b'hello')
print(s.recv(65536).decode(), flush=True)
try: print('end', s.recv(65536), flush=True)
except ConnectionResetError: print('end reset', flush=True)
while True:
    try:
        again = socket.create_connection(('127.0.0.1', 3128))
        again.sendall(b'CONNECT ${HOST}:${tunnelPort} HTTP/1.1\\r\\n\\r\\n')
        if again.recv(65536).startswith(b'HTTP/1.1 200'): break
    except OSError: pass
print('back')`,
  });
  const said = async (text: string) =>
    String((await world.call('GET', `/v1/tasks/${held.taskId}/output/stdout`)).body).includes(text);
  await until(() => said('hello'));

  await t.test('a host that is no longer allowed is cut, the rest stays', async (t) => {
    await setHosts(`${HOST}:${port}`);
    await until(() => said('end'));
    t.equal(tunnels.length, 1);
    await until(async () => tunnels[0]!.destroyed);
    t.equal(await reach(), 'origin\n');
  });

  await t.test('none: nothing is reached, and the program that runs sees it too', async (t) => {
    await setHosts();
    t.match(await reach(), /^URLError/);
    t.equal(tunnels.length, 1);
  });

  await t.test('back: the same program gets through, without a new sandbox', async (t) => {
    await setHosts(`${HOST}:${tunnelPort}`);
    const task = await until(async () => {
      const { body } = await world.call('GET', `/v1/tasks/${held.taskId}?wait=20`);
      return body.endedAt && body;
    });
    t.match(task, { status: 'success', outputs: { stdout: /hello\nend.*\nback\n$/s } });
    t.match(await reach(), /^HTTPError 403/);
  });

  await t.test('every decision is an event with its reason', async (t) => {
    await world.call('DELETE', `${path}?force=true`);
    const told = await networkEvents(world, sessionId);
    const has = (allowed: boolean, at: number, reason: string) =>
      t.ok(
        told.some(
          (each) =>
            each.allowed === allowed && each.host === HOST && each.port === at && each.reason === reason,
        ),
        `${reason}: ${JSON.stringify(told)}`,
      );
    has(true, port, 'in the allowlist');
    has(true, tunnelPort, 'in the allowlist');
    has(false, tunnelPort, 'no longer in the allowlist; the connection was cut');
    has(false, port, 'not in the allowlist');
  });
});

t.test('a flood of refused connections is a few events that count them all', async (t) => {
  const world = await startService(t);
  const { sessionId } = await world.session({ network: { mode: 'allowlist', hosts: ['allowed.example'] } });
  const task = await world.python(
    sessionId,
    `
import socket
for port in range(1, 121):
    with socket.create_connection(('127.0.0.1', 3128)) as s:
        s.sendall(b'CONNECT 10.0.0.1:%d HTTP/1.1\\r\\n\\r\\n' % port)
        assert s.recv(4096).startswith(b'HTTP/1.1 403'), port
print('done')`,
  );
  t.match(task, { outputs: { stdout: 'done\n' } }, JSON.stringify(task.ending));
  await world.call('DELETE', `/v1/sessions/${sessionId}?force=true`);
  const told = await networkEvents(world, sessionId);
  t.ok(told.length <= 40, `${told.length} events`);
  t.equal(
    told.reduce((sum, { count }) => sum + count, 0),
    120,
  );
  t.match((await eventsOf(world, sessionId)).at(-1), { type: 'session.state', data: { to: 'terminated' } });
});

t.test('what a session may use of the network is bounded, and said', async (t) => {
  const port = await listen(
    t,
    createServer((_request, response) => response.end(Buffer.alloc(2_000_000))),
  );
  const world = await startService(t, {
    EGRESS_PRIVATE_HOSTS: `${HOST}:*`,
    EGRESS_MAX_BYTES: '1000000',
    EGRESS_MAX_CONNECTIONS: '3',
  });
  const { sessionId } = await world.session({ network: { mode: 'allowlist', hosts: [`${HOST}:${port}`] } });
  const crowd = await world.python(
    sessionId,
    `
import socket
held = [socket.create_connection(('127.0.0.1', 3128)) for _ in range(4)]
for s in held: s.settimeout(0.5)
def said(s):
    try: return s.recv(4096).decode().split(' ')[1]
    except TimeoutError: return 'waits'
print(sorted(said(s) for s in held))`,
  );
  t.match(crowd.outputs, { stdout: "['503', 'waits', 'waits', 'waits']\n" });
  const cut = await world.python(sessionId, GET(port));
  t.match(cut, { status: 'failure', ending: { cause: 'exited' } }, 'IncompleteRead');
  t.match((await world.python(sessionId, GET(port))).outputs, { stdout: 'HTTPError 403\n' });
  await world.call('DELETE', `/v1/sessions/${sessionId}?force=true`);
  const reasons = (await networkEvents(world, sessionId)).map(({ reason }) => reason);
  t.ok(reasons.includes('more than 3 connections at once'), String(reasons));
  t.ok(reasons.includes('the session has used its 1000000 bytes'), String(reasons));
});
