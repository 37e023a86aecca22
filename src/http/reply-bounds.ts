// What replies under way may hold. A client that asks and does not read leaves its reply in our memory: one that stands
// still for a time is cut off, and large replies are refused while too much is waiting to be read.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { TooManyUnreadReplies } from '../errors.js';
import { problemDocument } from './problem.js';
import { PROBLEM_TYPE } from './problem-schema.js';
import type { Server } from './server.js';

/** A reply up to this size is always sent, so that errors, health and small records are. */
const SMALL_BYTES = 64 * 1024;
/** The clock of a reply that stands still is looked at so many times in its timeout. */
const LOOKS = 4;

export interface ReplyBounds {
  /** A reply of which nothing moves for this long is cut off with its connection; event streams are not. */
  readonly stalledMs: number;
  /** Bytes of all replies together that may wait for their clients before another large one is refused. */
  readonly unreadBytes: number;
}

interface Progress {
  readonly response: ServerResponse;
  sentBytes: number;
  movedAt: number;
}

export interface ReplyRoom {
  /** Rejects with TooManyUnreadReplies when a reply of so many bytes would be refused: before it is made. The bytes are
   *  asked for only while much waits. */
  requireRoom(bytes: () => Promise<number>): Promise<void>;
}

/** To be called after the hooks that store replies, which then keep the real one. */
export function boundReplies(app: Server, { stalledMs, unreadBytes }: ReplyBounds): ReplyRoom {
  const underWay = new Map<Socket, Progress>();
  app.addHook('onRequest', (request, reply, done) => {
    // A WebSocket has its own bounds: one that reads slowly is not closed.
    if (request.raw.headers.upgrade !== undefined) return done();
    const { socket } = request.raw as IncomingMessage;
    underWay.set(socket, { response: reply.raw, sentBytes: sentBytes(socket), movedAt: performance.now() });
    reply.raw.once('close', () => {
      if (underWay.get(socket)?.response === reply.raw) underWay.delete(socket);
    });
    done();
  });

  const isRefused = (bytes: number) =>
    bytes > SMALL_BYTES && waitingBytes(underWay.keys()) + bytes > unreadBytes;

  async function requireRoom(bytes: () => Promise<number>): Promise<void> {
    if (waitingBytes(underWay.keys()) <= unreadBytes / 2) return;
    if (isRefused(await bytes())) throw new TooManyUnreadReplies(unreadBytes, 'notStarted');
  }

  app.addHook('onSend', (request, reply, payload, done) => {
    const bytes = lengthOf(payload);
    if (bytes <= SMALL_BYTES) return done(null, payload);
    if (!isRefused(bytes)) {
      // As a buffer it is held once while it waits, and not as a string beside it.
      return done(null, typeof payload === 'string' ? Buffer.from(payload) : payload);
    }
    const isRead = request.method === 'GET' || request.method === 'HEAD';
    const refused = new TooManyUnreadReplies(unreadBytes, isRead ? 'notStarted' : 'done');
    reply
      .code(refused.status)
      .removeHeader('content-length')
      .removeHeader('etag')
      .header('content-type', PROBLEM_TYPE)
      .header('retry-after', String(refused.retryAfterSeconds));
    done(null, JSON.stringify(problemDocument(refused, request.id)));
  });

  const looking = setInterval(() => {
    const now = performance.now();
    for (const [socket, progress] of underWay) {
      const sent = sentBytes(socket);
      const isWaiting = socket.writableLength > 0 && !isEventStream(progress.response);
      if (!isWaiting || sent !== progress.sentBytes) {
        progress.sentBytes = sent;
        progress.movedAt = now;
      } else if (now - progress.movedAt > stalledMs) socket.destroy();
    }
  }, stalledMs / LOOKS).unref();
  app.addHook('onClose', async () => clearInterval(looking));
  return { requireRoom };
}

/** What the kernel has taken of all that was written, in bytes; it moves while the client reads. */
function sentBytes(socket: Socket): number {
  const handle = (socket as { _handle?: { writeQueueSize?: number } })._handle;
  return socket.bytesWritten - Math.max(socket.writableLength, handle?.writeQueueSize ?? 0);
}

function waitingBytes(sockets: Iterable<Socket>): number {
  let bytes = 0;
  // A request that is injected has no connection.
  for (const socket of sockets) bytes += socket.writableLength ?? 0;
  return bytes;
}

function lengthOf(payload: unknown): number {
  if (typeof payload === 'string') return Buffer.byteLength(payload);
  return Buffer.isBuffer(payload) ? payload.length : 0;
}

function isEventStream(response: ServerResponse): boolean {
  return String(response.getHeader('content-type') ?? '').startsWith('text/event-stream');
}
