// One request of a connection at a time. HTTP/1.1 lets a client send its next requests before it has the first reply
// (pipelining), and Node would start them all: what they hold grows without bound when the client never reads, and the
// reply of one whose turn never comes has no connection whose end it could notice. Here a request starts when the reply
// before it has been handed to the kernel, and the connection is read no further while requests wait.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void;

/** Requests that may wait on one connection: as many as come with one read of 64 KiB, after which it is read no further. */
const MAX_WAITING = 2_500;
/** Requests that may wait on all connections together; each holds some 4 KiB. Browsers and libraries send none ahead. */
const MAX_WAITING_IN_ALL = 10_000;

interface Waiting {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** The handler, called for one request of each connection at a time, in their order. A connection that sends more
 *  requests ahead than these bounds allow is closed. */
export function oneRequestAtATime(
  handle: RequestHandler,
  { maxWaiting = MAX_WAITING, maxWaitingInAll = MAX_WAITING_IN_ALL } = {},
): RequestHandler {
  const queues = new WeakMap<Socket, Waiting[]>();
  let waitingInAll = 0;

  function drop(queue: Waiting[]): void {
    waitingInAll -= queue.length;
    queue.length = 0;
  }

  function start(socket: Socket, { request, response }: Waiting, queue: Waiting[]): void {
    response.once('close', () => {
      if (socket.destroyed) drop(queue);
      const next = queue.shift();
      if (!next) {
        queues.delete(socket);
        return;
      }
      waitingInAll -= 1;
      // In a turn of its own, so that a full queue does not keep other connections from theirs.
      setImmediate(() => {
        // Node gives the connection to the next response, unless the last one closes it (`Connection: close`).
        if (socket.destroyed || next.response.socket !== socket) {
          drop(queue);
          return;
        }
        if (queue.length === 0) socket.resume();
        start(socket, next, queue);
      });
    });
    handle(request, response);
  }

  return (request, response) => {
    const { socket } = request;
    if (socket.destroyed) return;
    const queue = queues.get(socket);
    if (!queue) {
      const first: Waiting[] = [];
      queues.set(socket, first);
      start(socket, { request, response }, first);
    } else if (queue.length >= maxWaiting || waitingInAll >= maxWaitingInAll) {
      drop(queue);
      socket.destroy();
    } else {
      queue.push({ request, response });
      waitingInAll += 1;
      socket.pause();
    }
  };
}
