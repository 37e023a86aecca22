// The connections of the server when it closes: one without a whole request is cut, for nobody knows when it would say
// the rest; one that is being answered gets some time, for a client may be slow to take it without end.
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';

const LOOK_EVERY_MS = 50;
/** A connection without a whole request may have one on its way, which is then answered 503. */
const NEXT_REQUEST_MS = 500;
/** From the beginning of the close; a request that is still under way is cut off. */
const LAST_REQUESTS_MS = 5000;

export function cutConnectionsWhenClosing(app: FastifyInstance, lastRequestsMs = LAST_REQUESTS_MS): void {
  const open = new Set<Socket>();
  /** The request that is under way; a connection that speaks WebSocket is never without one. */
  const requests = new Map<Socket, IncomingMessage>();
  const isAnswering = (socket: Socket) => {
    const request = requests.get(socket);
    return request?.complete === true || request?.headers.upgrade !== undefined;
  };
  let looking: NodeJS.Timeout | undefined;

  app.server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.once('close', () => {
      open.delete(socket);
      requests.delete(socket);
    });
  });
  app.server.on('request', (request, response) => {
    const { socket } = request;
    requests.set(socket, request);
    response.once('close', () => requests.get(socket) === request && requests.delete(socket));
  });
  app.server.on('upgrade', (request) => requests.set(request.socket, request));

  app.addHook('preClose', async () => {
    const startedAt = performance.now();
    looking = setInterval(() => {
      const closingMs = performance.now() - startedAt;
      for (const socket of open) {
        if (closingMs > lastRequestsMs) socket.destroy();
        else if (closingMs > NEXT_REQUEST_MS && !isAnswering(socket)) socket.destroySoon();
      }
    }, LOOK_EVERY_MS);
  });
  app.addHook('onClose', async () => clearInterval(looking));
}
