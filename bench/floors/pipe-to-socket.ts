// A program's output from its pipe to a WebSocket as JSON, with nothing kept, counted or checked on the way.
import { spawn } from 'node:child_process';
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';

const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
server.on('listening', () => process.send!({ port: (server.address() as AddressInfo).port }));
server.on('connection', (socket) => {
  socket.on('message', (code) => {
    const child = spawn('/usr/bin/python3', ['-I', '-c', String(code)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let seq = 0;
    child.stdout.on('data', (chunk: Buffer) => {
      seq += 1;
      socket.send(
        JSON.stringify({ seq, type: 'task.output', data: { text: chunk.toString('utf8') } }),
        () => {
          if (socket.bufferedAmount < 1 << 20) child.stdout.resume();
        },
      );
      if (socket.bufferedAmount > 4 << 20) child.stdout.pause();
    });
    child.stdout.on('end', () => socket.send(JSON.stringify({ type: 'task.ended' })));
  });
});
