// Attempts to use the proxy up instead of getting past it: while a session tries, the service answers, another session
// gets through, and afterwards nothing is left of it.
import { readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { eventsOf, startService, until, type World } from '../helpers/world.js';

const openFiles = () => readdirSync('/proc/self/fd').length;

async function startWorld(t: Test, settings: Record<string, string> = {}) {
  const origin = createServer((_request, response) => response.end('origin'));
  const silent = createTcpServer({ allowHalfOpen: true }, (socket) => {
    held.push(socket.on('error', () => {}));
  });
  const held: Socket[] = [];
  const ports = await Promise.all(
    [origin, silent].map(async (server) => {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.2', resolve));
      return (server.address() as AddressInfo).port;
    }),
  );
  t.teardown(() => {
    for (const socket of held) socket.destroy();
    origin.closeAllConnections();
    origin.close();
    silent.close();
  });
  const [port, silentPort] = ports as [number, number];
  const world = await startService(t, { EGRESS_PRIVATE_HOSTS: '127.0.0.2:*', ...settings });
  const network = { mode: 'allowlist', hosts: [`127.0.0.2:${port}`, `127.0.0.2:${silentPort}`] };
  const attacker = (await world.session({ network })).sessionId;
  const bystander = (await world.session({ network })).sessionId;
  // Both have their sandboxes, and the service the files that it opens once.
  for (const each of [attacker, bystander]) await world.python(each, 'pass');
  return { world, attacker, bystander, port, silentPort, held };
}

/** The bystander's request must get through while the attack is on. */
async function getsThrough(t: Test, world: World, sessionId: string, port: number): Promise<void> {
  const { outputs } = await world.python(
    sessionId,
    `import urllib.request; print(urllib.request.urlopen('http://127.0.0.2:${port}/', timeout=30).read().decode())`,
  );
  t.equal(outputs?.stdout, 'origin\n', JSON.stringify(outputs));
}

/** Starts the attack; resolves when the program says that it is on, with a way to end it. */
async function attack(world: World, sessionId: string, code: string): Promise<() => Promise<void>> {
  const { taskId } = await world.submit(sessionId, 'run.python', {
    code: `
import socket, time
def direct():
    s = socket.socket(socket.AF_UNIX)
    s.connect('/run/egress.sock')
    return s
${code}
print('on', flush=True)
while True: time.sleep(10)`,
  });
  await until(async () => {
    const said = await world.call('GET', `/v1/tasks/${taskId}/output/stdout`);
    const { body } = await world.call('GET', `/v1/tasks/${taskId}`);
    if (body.endedAt) throw new Error(`the attack ended: ${JSON.stringify(body)}`);
    return String(said.body).includes('on');
  });
  return async () => {
    await world.call('POST', `/v1/tasks/${taskId}/cancel`);
  };
}

t.test('floods of requests', async (t) => {
  const { world, attacker, bystander, port } = await startWorld(t);

  await t.test('thousands of connections', async (t) => {
    const before = openFiles();
    const end = await attack(
      world,
      attacker,
      `
# More than wait to be accepted, so that those accepted are open.
held = []
for _ in range(3000):
    s = direct()
    held.append(s)
    if len(held) > 900: held.pop(0).close()`,
    );
    t.ok(openFiles() - before <= 100, `${openFiles() - before} more files are open`);
    await getsThrough(t, world, bystander, port);
    await end();
    await until(async () => openFiles() <= before + 5);
    const told = (await eventsOf(world, attacker)).filter(({ type }) => type === 'session.network');
    t.ok(told.length >= 1 && told.length <= 20, `${told.length} events`);
    t.match(told[0]?.data, { allowed: false, host: null, reason: 'more than 64 connections at once' });
  });

  await t.test('slow heads', async (t) => {
    const end = await attack(
      world,
      attacker,
      `
held = [direct() for _ in range(64)]
for s in held: s.sendall(b'GET http://127.0.0.2:${port}/ HTTP/1.1\\r\\nX: ')`,
    );
    await getsThrough(t, world, bystander, port);
    await end();
    await getsThrough(t, world, attacker, port);
  });

  await t.test('heads without end', async (t) => {
    const { outputs } = await world.python(
      attacker,
      `
import socket
s = socket.socket(socket.AF_UNIX)
s.connect('/run/egress.sock')
sent = 0
try:
    s.sendall(b'GET http://127.0.0.2:${port}/ HTTP/1.1\\r\\n')
    while sent < 1 << 26: sent += s.send(b'X-%d: ' % sent + b'x' * 60000 + b'\\r\\n')
except OSError: pass
print(sent < 1 << 22)`,
    );
    t.equal(outputs?.stdout, 'True\n', JSON.stringify(outputs));
  });
});

t.test('half-open tunnels', async (t) => {
  const { world, attacker, bystander, port, silentPort, held } = await startWorld(t, {
    EGRESS_IDLE_SECONDS: '1',
  });
  const before = openFiles();
  const attempt = world.python(
    attacker,
    `
import socket
held = [socket.create_connection(('127.0.0.1', 3128)) for _ in range(40)]
for s in held:
    s.sendall(b'CONNECT 127.0.0.2:${silentPort} HTTP/1.1\\r\\n\\r\\n')
    s.shutdown(socket.SHUT_WR)
said = b''
for s in held:
    while more := s.recv(4096): said += more
print(said.count(b' 200 '), 'were open, and all are cut')`,
  );
  await getsThrough(t, world, bystander, port);
  t.equal((await attempt).outputs?.stdout, '40 were open, and all are cut\n');
  for (const socket of held) socket.destroy();
  await until(async () => openFiles() <= before + 5);
});
