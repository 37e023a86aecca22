// Readers that count WebSocket frames and look at nothing else: parsing them would be most of the work on this machine.
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';

interface Reader {
  readonly socket: Socket;
  readonly frames: number;
}

let readers: Reader[] = [];

process.on('message', async (message: { open?: number; port?: number; path?: string; count?: true }) => {
  if (message.open) {
    for (const { socket } of readers) socket.destroy();
    readers = await Promise.all(
      Array.from({ length: message.open }, () => open(message.port!, message.path!)),
    );
    process.send!({ opened: readers.length });
  } else {
    process.send!({ least: Math.min(...readers.map(({ frames }) => frames)) });
  }
});
process.send!({ port: 0 });

function open(port: number, path: string): Promise<Reader> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1' });
    const reader = { socket, frames: 0 };
    let isOpen = false;
    /** Bytes of the frame at hand that are still to come; negative: its header is incomplete in `rest`. */
    let toSkip = 0;
    let rest: Buffer = Buffer.alloc(0);
    socket.on('error', reject);
    socket.on('data', (chunk: Buffer) => {
      let bytes = rest.length > 0 ? Buffer.concat([rest, chunk]) : chunk;
      rest = Buffer.alloc(0);
      if (!isOpen) {
        const end = bytes.indexOf('\r\n\r\n');
        if (end < 0) {
          rest = bytes;
          return;
        }
        isOpen = true;
        bytes = bytes.subarray(end + 4);
        resolve(reader);
      }
      let at = Math.min(toSkip, bytes.length);
      toSkip -= at;
      while (at < bytes.length) {
        const short = bytes.length > at + 1 ? bytes[at + 1]! & 0x7f : 127;
        const header = short < 126 ? 2 : short === 126 ? 4 : 10;
        if (bytes.length < at + header) {
          rest = bytes.subarray(at);
          return;
        }
        const length =
          short < 126
            ? short
            : short === 126
              ? bytes.readUInt16BE(at + 2)
              : Number(bytes.readBigUInt64BE(at + 2));
        // Text only: pings are not counted.
        if ((bytes[at]! & 0x0f) === 1) reader.frames += 1;
        const end = at + header + length;
        toSkip = Math.max(0, end - bytes.length);
        at = Math.min(end, bytes.length);
      }
    });
    socket.write(
      `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n\r\n`,
    );
  });
}
