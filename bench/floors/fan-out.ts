// Every message to every reader, with one `send` each.
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';

const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
server.on('listening', () => process.send!({ port: (server.address() as AddressInfo).port }));
process.on('message', ({ messages, text }: { messages: number; text: string }) => {
  let sent = 0;
  const next = () => {
    if (sent === messages) return process.send!({ sent });
    sent += 1;
    let waiting = server.clients.size;
    for (const client of server.clients) {
      client.send(text, () => {
        waiting -= 1;
        if (waiting === 0) setImmediate(next);
      });
    }
  };
  next();
});
