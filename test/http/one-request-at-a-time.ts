import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import { oneRequestAtATime } from '../../src/http/one-request-at-a-time.js';
import { until } from '../helpers/event-client.js';

const GET = (path: string) => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`;

/** A server that notes what was started, and a client that has sent these requests at once. */
async function pipelined(
  t: Test,
  requests: string,
  bounds: { maxWaiting?: number; maxWaitingInAll?: number } = {},
) {
  const started: string[] = [];
  const responses: ServerResponse[] = [];
  const server = createServer(
    oneRequestAtATime((request, response) => {
      started.push(request.url!);
      responses.push(response);
    }, bounds),
  );
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const socket: Socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  t.teardown(() => {
    socket.destroy();
    server.closeAllConnections();
    server.close();
  });
  let received = '';
  socket.on('data', (chunk) => {
    received += chunk;
  });
  socket.on('error', () => {});
  socket.write(requests);
  await until(() => started.length > 0 || socket.destroyed);
  return { started, responses, socket, received: () => received };
}

t.test('requests of one connection are started one after the other, and answered in order', async (t) => {
  const { started, responses, received } = await pipelined(t, GET('/1') + GET('/2') + GET('/3'));
  for (const [index, path] of ['/1', '/2', '/3'].entries()) {
    await until(() => started.length === index + 1);
    t.equal(started.at(-1), path);
    await new Promise(setImmediate);
    t.equal(started.length, index + 1, 'the next one waits');
    responses[index]!.end(`reply to ${path}`);
  }
  await until(() => received().includes('reply to /3'));
  t.match(received(), /reply to \/1.*reply to \/2.*reply to \/3/s);
});

t.test('a body that is still being sent goes on being read', async (t) => {
  const { started, responses, socket, received } = await pipelined(
    t,
    'POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab',
  );
  socket.write(`cd${GET('/2')}`);
  responses[0]!.end('one');
  await until(() => started.length === 2);
  responses[1]!.end('two');
  await until(() => received().includes('two'));
});

t.test('a connection that goes away takes the requests with it that were not started', async (t) => {
  const { started, responses, socket } = await pipelined(t, GET('/1') + GET('/2') + GET('/3'));
  const closed = once(responses[0]!, 'close');
  socket.destroy();
  await closed;
  await new Promise(setImmediate);
  await new Promise(setImmediate);
  t.same(started, ['/1']);
});

t.test('after a reply that closes the connection nothing more is started', async (t) => {
  const { started, responses, socket } = await pipelined(t, GET('/1') + GET('/2') + GET('/3'));
  const closed = once(socket, 'close');
  responses[0]!.setHeader('connection', 'close');
  responses[0]!.end('last');
  await closed;
  for (let turn = 0; turn < 5; turn += 1) await new Promise(setImmediate);
  t.same(started, ['/1']);
});

t.test('a connection with too many requests ahead is closed', async (t) => {
  for (const bounds of [{ maxWaiting: 4 }, { maxWaitingInAll: 4 }]) {
    const { started, socket } = await pipelined(t, GET('/n').repeat(6), bounds);
    await until(() => socket.destroyed);
    t.same(started, ['/n']);
  }
});

t.test('many connections take turns', async (t) => {
  const order: string[] = [];
  const server = createServer(
    oneRequestAtATime((request, response) => {
      order.push(request.url!.slice(0, 2));
      response.end('x');
    }),
  );
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.teardown(() => server.close());
  const ends = ['/a', '/b'].map(async (name) => {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    let count = 0;
    socket.on('data', (chunk) => {
      count += String(chunk).split('HTTP/1.1 200').length - 1;
    });
    socket.write(GET(name).repeat(50));
    await until(() => count === 50);
    socket.destroy();
  });
  await Promise.all(ends);
  t.equal(order.length, 100);
});
