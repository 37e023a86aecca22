// Requests that no route gets to see whole: what Node's parser refuses, what stands in headers that are Node's or the
// WebSocket library's business. Each is answered by a problem document with a request id, like any other error.
import { randomUUID } from 'node:crypto';
import { type IncomingMessage, maxHeaderSize, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import {
  ContentEncodingNotTaken,
  ExpectationFailed,
  HeadersTooLarge,
  PayloadTooLarge,
  type PublicError,
  RequestTimedOut,
  UriTooLong,
  ValidationFailed,
} from '../errors.js';
import { problemDocument } from './problem.js';
import { PROBLEM_TYPE } from './problem-schema.js';
import type { Server } from './server.js';

interface ParserError extends Error {
  readonly code?: string;
  readonly reason?: string;
  readonly rawPacket?: Buffer;
}

/** The caller's X-Request-Id when it is a harmless one, else a new one. */
export function requestId(request: IncomingMessage): string {
  const given = request.headers['x-request-id'];
  return typeof given === 'string' && /^[A-Za-z0-9._-]{1,128}$/.test(given) ? given : randomUUID();
}

/** Answers bytes that are no HTTP, when the socket still takes an answer. */
export function answerBrokenHttp(error: ParserError, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  endWithProblem(socket, publicErrorOf(error), randomUUID());
}

/** Writes a whole reply to a socket that no response object has, and closes it. */
export function endWithProblem(socket: Duplex, error: PublicError, id: string): void {
  const body = JSON.stringify(problemDocument(error, id));
  const head = [
    `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status]}`,
    `Content-Type: ${PROBLEM_TYPE}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    `X-Request-Id: ${id}`,
    'X-Content-Type-Options: nosniff',
    'Connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}

function publicErrorOf({ code, reason, message, rawPacket }: ParserError): PublicError {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return isLongUrl(rawPacket) ? new UriTooLong(maxHeaderSize) : new HeadersTooLarge(maxHeaderSize);
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new RequestTimedOut();
    default:
      return new ValidationFailed([
        { where: '/', rule: `must be valid HTTP (${reason ?? message}${code ? `, ${code}` : ''})` },
      ]);
  }
}

/** The parser has one limit for the request line and the headers. Which of them it was is seen where it stopped: a URL
 *  that comes in pieces has no line in the last of them. */
function isLongUrl(packet: Buffer | undefined): boolean {
  const line = packet?.toString('latin1').split('\r\n', 1)[0] ?? '';
  return line.length === packet?.length ? !line.includes(': ') : line.length > maxHeaderSize / 2;
}

/** Judges the headers that Node would judge by itself with an empty reply, and says `100 Continue` only to a body that is
 *  going to be read: not when the request is refused already, or its length is. */
export function judgeHeaders(app: Server): void {
  const continued = new WeakSet<IncomingMessage>();
  app.addHook('onRequest', ({ raw }, _reply, done) => {
    const { host, expect } = raw.headers;
    if (host === undefined && raw.httpVersion === '1.1')
      throw new ValidationFailed([{ where: '/headers/host', rule: 'is required in HTTP/1.1' }]);
    if (expect !== undefined && !isContinue(raw)) throw new ExpectationFailed(expect);
    done();
  });
  app.addHook('preParsing', (request, reply, payload, done) => {
    const { raw } = request;
    const { 'content-encoding': encoding, 'content-length': length } = raw.headers;
    if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
      reply.header('accept-encoding', 'identity');
      throw new ContentEncodingNotTaken(encoding);
    }
    const { bodyLimit } = request.routeOptions;
    if (Number(length ?? 0) > bodyLimit) throw new PayloadTooLarge(bodyLimit);
    if (isContinue(raw)) {
      continued.add(raw);
      reply.raw.writeContinue();
    }
    done(null, payload);
  });
  app.addHook('onSend', ({ raw }, reply, _payload, done) => {
    // Nobody knows whether the body comes all the same.
    if (isContinue(raw) && !continued.has(raw)) reply.header('connection', 'close');
    done();
  });
}

function isContinue({ headers }: IncomingMessage): boolean {
  return headers.expect?.toLowerCase() === '100-continue';
}
