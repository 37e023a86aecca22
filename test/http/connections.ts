import { once } from 'node:events';
import { request } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import Fastify from 'fastify';
import t, { type Test } from 'tap';
import { cutConnectionsWhenClosing } from '../../src/http/connections.js';
import { deferred } from '../../src/lib/deferred.js';
import { startService, until } from '../helpers/world.js';

async function listen(t: Test, { lastRequestsMs = 60_000 } = {}) {
  const app = Fastify();
  const reply = deferred<string>();
  let asked = 0;
  app.get('/slow', () => {
    asked += 1;
    return reply.promise;
  });
  app.get('/fast', async () => 'done');
  cutConnectionsWhenClosing(app, lastRequestsMs);
  await app.listen({ port: 0, host: '127.0.0.1' });
  t.teardown(() => app.close());
  const { port } = app.server.address() as AddressInfo;
  const open = async (
    text: string,
  ): Promise<{ socket: Socket; heard: () => string; closed: Promise<unknown> }> => {
    const socket = connect(port, '127.0.0.1').on('error', () => {});
    let heard = '';
    socket.on('data', (data) => {
      heard += data;
    });
    await once(socket, 'connect');
    if (text) socket.write(text);
    return { socket, heard: () => heard, closed: once(socket, 'close') };
  };
  return { app, port, open, reply, asked: () => asked };
}

const GET = (path: string) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;

t.test('who connects and asks nothing, or half a question, does not hold up the close', async (t) => {
  const { app, open } = await listen(t);
  const silent = await open('');
  const half = await open('GET /fast HTTP/1.1\r\nHo');
  const done = await open(GET('/fast'));
  while (!done.heard().endsWith('done')) await once(done.socket, 'data');
  await app.close();
  await Promise.all([silent.closed, half.closed, done.closed]);
  t.equal(silent.heard() + half.heard(), '');
});

t.test('a request that is under way is answered, whoever else is cut', async (t) => {
  const { app, port, open, reply, asked } = await listen(t);
  const silent = await open('');
  const answer = new Promise<string>((resolve) => {
    request({ port, path: '/slow', host: '127.0.0.1' }, (response) => {
      response.setEncoding('utf8').on('data', resolve);
    }).end();
  });
  while (asked() === 0) await new Promise(setImmediate);
  const closing = app.close();
  await silent.closed;
  reply.resolve('in the end');
  t.equal(await answer, 'in the end');
  await closing;
});

t.test('a request without end is cut off in the end', async (t) => {
  const { app, open, asked, reply } = await listen(t, { lastRequestsMs: 100 });
  const slow = await open(GET('/slow'));
  while (asked() === 0) await new Promise(setImmediate);
  await app.close();
  await slow.closed;
  t.equal(slow.heard(), '');
  reply.resolve('too late');
});

t.test('connections beyond the bound are closed as they come, and room comes back', async (t) => {
  const world = await startService(t, { MAX_CONNECTIONS: '3' });
  const { port, hostname } = new URL(world.url);
  const open = async () => {
    const socket = connect(Number(port), hostname);
    t.teardown(() => socket.destroy());
    socket.on('error', () => {});
    const isClosed = new Promise<boolean>((resolve) => socket.once('close', () => resolve(true)));
    socket.write('GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
    const isServed = once(socket, 'data').then(() => false);
    return { socket, isRefused: await Promise.race([isClosed, isServed.catch(() => true)]) };
  };
  const first = await open();
  const others = [await open(), await open()];
  t.same(
    [first, ...others].map(({ isRefused }) => isRefused),
    [false, false, false],
  );
  t.equal((await open()).isRefused, true);
  first.socket.destroy();
  await until(async () => !(await open()).isRefused);
});
