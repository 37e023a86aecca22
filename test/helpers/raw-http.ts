// HTTP as bytes, for requests that no client would make.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export interface RawReply {
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

export function openRaw(url: string): Socket {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  // What comes after the other side has closed is its business.
  socket.on('error', () => {});
  return socket;
}

/** All that comes back until the other side closes, or says enough. */
export async function exchange(
  url: string,
  bytes: string | Buffer,
  isEnough = (_said: string) => false,
): Promise<string> {
  const socket = openRaw(url);
  let said = '';
  socket.setEncoding('latin1');
  socket.write(bytes);
  const closed = once(socket, 'close');
  const enough = new Promise<void>((resolve) => {
    socket.on('data', (chunk: string) => {
      said += chunk;
      if (isEnough(said)) resolve();
    });
  });
  await Promise.race([closed, enough]);
  socket.destroy();
  return said;
}

/** The first reply; the connection is closed by whoever sends `Connection: close`, or by being broken. */
export async function rawRequest(url: string, head: readonly string[], body = ''): Promise<RawReply> {
  const said = await exchange(url, Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`, 'latin1'), isWhole);
  const [first = '', ...rest] = said.split('\r\n\r\n');
  return {
    status: Number(/^HTTP\/1\.1 (\d+)/.exec(first)?.[1] ?? 0),
    head: first,
    body: rest.join('\r\n\r\n'),
  };
}

function isWhole(said: string): boolean {
  const end = said.indexOf('\r\n\r\n');
  const length = /^content-length: (\d+)/im.exec(said.slice(0, Math.max(end, 0)))?.[1];
  return end >= 0 && length !== undefined && said.length >= end + 4 + Number(length);
}
