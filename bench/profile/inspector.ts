// The inspector of a Node process, over its WebSocket.
import { WebSocket } from 'ws';

export interface Inspector {
  ask<T>(method: string, params?: Readonly<Record<string, unknown>>): Promise<T>;
  close(): void;
}

export async function openInspector(url: string): Promise<Inspector> {
  const socket = new WebSocket(url, { maxPayload: 2 ** 30 });
  await new Promise<void>((resolve, reject) => socket.once('open', resolve).once('error', reject));
  let last = 0;
  return {
    ask: <T>(method: string, params = {}) => {
      last += 1;
      const id = last;
      socket.send(JSON.stringify({ id, method, params }));
      return new Promise<T>((resolve, reject) => {
        const onMessage = (data: Buffer) => {
          const message = JSON.parse(data.toString()) as {
            id?: number;
            result: T;
            error?: { message: string };
          };
          if (message.id !== id) return;
          socket.off('message', onMessage);
          if (message.error) reject(new Error(message.error.message));
          else resolve(message.result);
        };
        socket.on('message', onMessage);
      });
    },
    close: () => socket.close(),
  };
}
