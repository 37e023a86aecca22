import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';

const sources = fileURLToPath(new URL('../../../src/sandbox/python', import.meta.url));

/** The bridge as the sandbox runs it, on a free port, before a Unix server of the test's. */
async function startBridge(t: Test, onConnection: (socket: Socket) => void) {
  const directory = mkdtempSync(join(tmpdir(), 'bridge-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const socketPath = join(directory, 's');
  const server: Server = createServer({ allowHalfOpen: true }, onConnection);
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => sockets.add(socket.on('error', () => {})));
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  const code = `
import socket, sys
sys.path.insert(0, ${JSON.stringify(sources)})
import bridge
with socket.socket() as probe: probe.bind(('127.0.0.1', 0)); port = probe.getsockname()[1]
bridge.serve(port, ${JSON.stringify(socketPath)}, on_listening=lambda: print(port, flush=True))`;
  const child = spawn('/usr/bin/python3', ['-I', '-S', '-B', '-c', code], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    child.kill('SIGKILL');
  });
  const port = Number(String((await once(child.stdout, 'data'))[0]));
  return { port, pid: child.pid!, server, sockets };
}

const dial = (port: number) =>
  connect({ port, host: '127.0.0.1', allowHalfOpen: true }).on('error', () => {});

const cpuTicks = (pid: number) => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return Number(fields[11]) + Number(fields[12]);
};

async function until(what: string, isSo: () => boolean) {
  for (const end = Date.now() + 10_000; !isSo(); await sleep(2)) {
    if (Date.now() > end) throw new Error(`waited in vain for: ${what}`);
  }
}

t.test('bytes go both ways, and the end of one direction is passed on alone', async (t) => {
  const { port } = await startBridge(t, (socket) => {
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('end', () => socket.end(Buffer.concat(chunks)));
  });
  const bytes = Buffer.alloc(5_000_000, 'abcdefg');
  const socket = dial(port);
  socket.end(bytes);
  t.ok((await buffer(socket)).equals(bytes));
});

t.test('many connections at once do not mix', async (t) => {
  const { port } = await startBridge(t, (socket) => socket.pipe(socket));
  await Promise.all(
    Array.from({ length: 100 }, async (_, index) => {
      const socket = dial(port);
      socket.end(`this is ${index}`);
      t.equal(String(await buffer(socket)), `this is ${index}`);
    }),
  );
});

t.test('a slow reader slows its writer down and nobody else', async (t) => {
  const { port, pid } = await startBridge(t, (socket) => {
    socket.write(Buffer.alloc(8 << 20));
  });
  const slow = dial(port);
  await once(slow, 'data');
  slow.pause();
  const quick = dial(port);
  await once(quick, 'data');
  t.pass('the second is served');
  const before = cpuTicks(pid);
  await sleep(200);
  t.ok(cpuTicks(pid) - before <= 5, 'waiting does not burn the processor');
  slow.destroy();
  quick.destroy();
});

t.test('a writer without a reader is held back, with bounded memory', async (t) => {
  const { port, pid } = await startBridge(t, () => {});
  const socket = dial(port);
  let written = 0;
  const more = () => {
    while (written < 64 << 20 && socket.write(Buffer.alloc(1 << 20))) written += 1 << 20;
  };
  socket.on('drain', more);
  more();
  let before = -1;
  await until('the writer stands', () => {
    const same = before === socket.bytesWritten - socket.writableLength;
    before = socket.bytesWritten - socket.writableLength;
    return same;
  });
  const resident = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
  t.ok(resident < 40_000, `${resident} KiB`);
  socket.destroy();
});

t.test('an end that breaks off takes only its own connection with it', async (t) => {
  const { port, sockets } = await startBridge(t, (socket) => socket.pipe(socket));
  const [broken, whole] = [dial(port), dial(port)];
  for (const socket of [broken, whole]) {
    socket.write('x');
    await once(socket, 'data');
  }
  broken.resetAndDestroy();
  await until('the proxy saw it', () => [...sockets].filter((socket) => !socket.destroyed).length === 1);
  whole.write('y');
  t.equal(String((await once(whole, 'data'))[0]), 'y');
  whole.destroy();
});

t.test('without a proxy a connection is closed, and the bridge stays', async (t) => {
  const { port, server } = await startBridge(t, (socket) => socket.pipe(socket));
  await new Promise((resolve) => server.close(resolve));
  for (let round = 0; round < 3; round += 1) {
    const socket = dial(port);
    t.equal(String(await buffer(socket).catch(() => '')), '');
  }
});
