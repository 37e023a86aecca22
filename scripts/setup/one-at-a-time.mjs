// Two set-ups of one clone take turns. The lock is an abstract Unix socket: the kernel drops it with its process, so
// no crash leaves it behind, and whoever waits hears the end of the connection.
import { createHash } from 'node:crypto';
import { connect, createServer } from 'node:net';
import { say } from './say.mjs';

/** Resolves, when nobody else has the turn, with what ends ours. */
export async function takeTurn(folder) {
  const key = createHash('sha256').update(`${process.getuid()}:${folder}`).digest('hex').slice(0, 32);
  const address = `\0codegen-worker-setup-${key}`;
  for (let waiting = false; ; waiting = true) {
    const endTurn = await listen(address);
    if (endTurn) return endTurn;
    if (!waiting) say('waiting for another set-up of this clone');
    await untilItEnds(address);
  }
}

function listen(address) {
  return new Promise((resolve, reject) => {
    const waiters = new Set();
    const server = createServer((waiter) => {
      waiters.add(waiter.unref());
      waiter.on('error', () => {});
      waiter.on('close', () => waiters.delete(waiter));
    });
    const endTurn = () => {
      server.close();
      for (const waiter of waiters) waiter.destroy();
    };
    server.once('error', (error) => (error.code === 'EADDRINUSE' ? resolve(undefined) : reject(error)));
    server.listen(address, () => {
      server.unref();
      resolve(endTurn);
    });
  });
}

function untilItEnds(address) {
  return new Promise((resolve) => {
    const connection = connect(address);
    connection.on('error', () => {});
    connection.on('close', resolve);
    connection.resume();
  });
}
