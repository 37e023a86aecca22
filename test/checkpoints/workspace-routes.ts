import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import t, { type Test } from 'tap';
import { startService, until } from '../helpers/world.js';

t.test('the workspace is downloaded as it is, links kept and what is no file left out', async (t) => {
  const world = await startService(t);
  const { sessionId } = await world.session();
  await world.writeFile(sessionId, 'src/main.py', 'print("hello")\n');
  await world.python(
    sessionId,
    'import os\nos.mkfifo("fifo"); os.symlink("/etc/passwd", "link"); os.chmod("src", 0)\nopen("big", "wb").write(os.urandom(2_000_000))',
  );
  const response = await fetch(`${world.url}/v1/sessions/${sessionId}/files/archive`);
  t.equal(response.status, 200);
  t.equal(response.headers.get('content-type'), 'application/gzip');
  t.equal(response.headers.get('content-disposition'), `attachment; filename="${sessionId}.tar.gz"`);
  const input = Buffer.from(await response.arrayBuffer());
  const names = execFileSync('tar', ['-tz'], { input, encoding: 'utf8' }).split('\n');
  for (const name of ['src/', 'src/main.py', 'link', 'big', '.venv/pyvenv.cfg'])
    t.ok(names.includes(name), name);
  t.notOk(names.includes('fifo'));
  t.equal(execFileSync('tar', ['-xzO', 'src/main.py'], { input, encoding: 'utf8' }), 'print("hello")\n');

  const missing = await world.call('GET', '/v1/sessions/none/files/archive');
  t.match([missing.status, missing.body], [404, { code: 'SESSION_NOT_FOUND' }]);
  const head = await fetch(`${world.url}/v1/sessions/${sessionId}/files/archive`, { method: 'HEAD' });
  t.equal(head.status, 405);
  await world.call('DELETE', `/v1/sessions/${sessionId}`);
  const ended = await world.call('GET', `/v1/sessions/${sessionId}/files/archive`);
  t.match([ended.status, ended.body], [409, { code: 'SESSION_ENDED' }]);
});

t.test(
  'a download that is broken off, by its reader or by the end of the session, leaves nobody reading',
  async (t) => {
    const world = await startService(t);
    const { sessionId } = await world.session();
    await world.python(
      sessionId,
      'import os\nfor i in range(8): open(str(i), "wb").write(os.urandom(8_000_000))',
    );
    const leave = new AbortController();
    const url = `${world.url}/v1/sessions/${sessionId}/files/archive`;
    const left = await fetch(url, { signal: leave.signal });
    leave.abort();
    await t.rejects(left.arrayBuffer());
    const ended = await fetch(url);
    // Deleting waits for every process of the session.
    t.equal((await world.call('DELETE', `/v1/sessions/${sessionId}`)).status, 200);
    await t.rejects(ended.arrayBuffer(), 'a part is never taken for the whole');
  },
);

/** A download whose client does with its connection what it likes. */
async function download(t: Test, url: string, sessionId: string) {
  const { port, hostname } = new URL(url);
  const socket = connect(Number(port), hostname);
  t.teardown(() => socket.destroy());
  socket.on('error', () => {});
  await once(socket, 'connect');
  const ask = () =>
    socket.write(`GET /v1/sessions/${sessionId}/files/archive HTTP/1.1\r\nHost: ${hostname}\r\n\r\n`);
  return { socket, ask };
}

const STAGES: Readonly<Record<string, (client: Awaited<ReturnType<typeof download>>) => Promise<void>>> = {
  'left before the reply': async ({ socket, ask }) => {
    ask();
    socket.destroy();
  },
  'left after the first bytes': async ({ socket, ask }) => {
    ask();
    await once(socket, 'data');
    socket.destroy();
  },
  'reset after the first bytes': async ({ socket, ask }) => {
    ask();
    await once(socket, 'data');
    socket.resetAndDestroy();
  },
  'half closed': async ({ socket, ask }) => {
    ask();
    await once(socket, 'data');
    socket.end();
    socket.pause();
  },
  'standing still from the beginning': async ({ socket, ask }) => {
    socket.pause();
    ask();
  },
  'standing still after the first bytes': async ({ socket, ask }) => {
    ask();
    await once(socket, 'data');
    socket.pause();
  },
  'pipelined, then left': async ({ socket, ask }) => {
    ask();
    ask();
    ask();
    await once(socket, 'data');
    socket.destroy();
  },
};

for (const [stage, leave] of Object.entries(STAGES)) {
  t.test(`a download ${stage} keeps neither its session nor the service from ending`, async (t) => {
    const world = await startService(t);
    const { sessionId } = await world.session();
    const big = 'import os; open("big", "wb").write(os.urandom(48_000_000))';
    t.match(await world.python(sessionId, big), { status: 'success' });
    await leave(await download(t, world.url, sessionId));
    // Until then whoever packs has noticed, or stands still.
    for (let round = 0; round < 5; round += 1)
      t.match(await world.python(sessionId, 'import time; time.sleep(.1)'), { status: 'success' });
    t.match(await world.call('DELETE', `/v1/sessions/${sessionId}`), {
      status: 200,
      body: { state: 'terminated' },
    });
  });
}

t.test('a session sends two downloads at a time, the service as many as it is told', async (t) => {
  const world = await startService(t, { MAX_DOWNLOADS: '3' });
  const [one, two] = [await world.session(), await world.session()];
  const big = 'import os; open("big", "wb").write(os.urandom(48_000_000))';
  for (const { sessionId } of [one, two]) t.match(await world.python(sessionId, big), { status: 'success' });
  const clients = [];
  for (const { sessionId } of [one, one, two]) {
    const client = await download(t, world.url, sessionId);
    client.ask();
    await once(client.socket, 'data');
    client.socket.pause();
    clients.push(client);
  }
  const path = ({ sessionId }: { sessionId: string }) => `/v1/sessions/${sessionId}/files/archive`;
  t.match(await world.call('GET', path(one)), {
    status: 429,
    body: { code: 'TOO_MANY_DOWNLOADS', retryable: true },
  });
  t.match(await world.call('GET', path(two)), { status: 503, body: { code: 'CAPACITY_EXCEEDED' } });
  for (const { socket } of clients) socket.destroy();
  await until(async () => {
    const reply = await fetch(world.url + path(two));
    await reply.body?.cancel();
    return reply.status === 200;
  });
});

t.test('a download that its client does not read is cut off, and gives its slot back', async (t) => {
  const world = await startService(t, { STALLED_REPLY_SECONDS: '1', MAX_DOWNLOADS: '1' });
  const { sessionId } = await world.session();
  await world.python(sessionId, 'import os; open("big", "wb").write(os.urandom(48_000_000))');
  const { socket, ask } = await download(t, world.url, sessionId);
  ask();
  await once(socket, 'data');
  socket.pause();
  await until(async () => {
    const reply = await fetch(`${world.url}/v1/sessions/${sessionId}/files/archive`);
    await reply.body?.cancel();
    return reply.status === 200;
  });
});
