// Asks one thing over and over on kept connections, with as little work for the client as can be: on a machine of two
// cores a comfortable client would be what is measured.
import { connect } from 'node:net';
import { closedLoop } from './pairs.js';

export interface Asking {
  readonly port: number;
  readonly path: string;
  readonly body: unknown;
}

/** One connection; each call of the result asks once and waits for the whole answer. */
export async function asker({ port, path, body }: Asking): Promise<{ ask(): Promise<void>; close(): void }> {
  const json = JSON.stringify(body);
  const bytes = Buffer.from(
    `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(json)}\r\n\r\n${json}`,
  );
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  let unread: Buffer = Buffer.alloc(0);
  let waiting: { resolve(): void; reject(error: Error): void } | undefined;
  const fail = (error: Error) => waiting?.reject(error);
  socket.on('error', fail);
  socket.on('close', () => fail(new Error('closed')));
  socket.on('data', (chunk: Buffer) => {
    unread = unread.length === 0 ? chunk : Buffer.concat([unread, chunk]);
    const head = unread.indexOf('\r\n\r\n');
    if (head < 0) return;
    const text = unread.toString('latin1', 0, head);
    const length = Number(/content-length: (\d+)/i.exec(text)?.[1]);
    if (unread.length < head + 4 + length) return;
    unread = Buffer.alloc(0);
    if (/^HTTP\/1\.1 2/.test(text)) waiting?.resolve();
    else fail(new Error(text));
  });
  await new Promise<void>((resolve) => socket.once('connect', resolve));
  return {
    ask: () =>
      new Promise((resolve, reject) => {
        waiting = { resolve, reject };
        socket.write(bytes);
      }),
    close: () => {
      waiting = undefined;
      socket.destroy();
    },
  };
}

/** Answers a second with this many connections. */
export async function rateOf(
  asking: (connection: number) => Asking,
  connections: number,
  seconds: number,
): Promise<number> {
  const askers = await Promise.all(Array.from({ length: connections }, (_, n) => asker(asking(n))));
  try {
    return await closedLoop(connections, seconds, (n) => askers[n]!.ask());
  } finally {
    for (const each of askers) each.close();
  }
}
