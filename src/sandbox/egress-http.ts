// Plain HTTP through the egress proxy. A request is taken apart and written anew, so that what the destination reads is
// what was checked: the Host is that of the URL, and headers that are meant for one hop end here.
import {
  request as httpRequest,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type ServerResponse,
} from 'node:http';
import type { Socket } from 'node:net';
import { pipeline } from 'node:stream';
import { canonicalHost, type HostAndPort } from './egress-rules.js';

export interface HttpTarget extends HostAndPort {
  /** For the Host header. */
  readonly authority: string;
  readonly path: string;
}

/** Null for anything but `http://host[:port]/path` without user name, fragment or spelling tricks. */
export function parseAbsoluteForm(text: string): HttpTarget | null {
  if (!/^http:\/\/[^/\s\\#][^\s\\#]*$/i.test(text) || !URL.canParse(text)) return null;
  const url = new URL(text);
  if (url.username !== '' || url.password !== '' || /^http:\/\/[^/?]*@/i.test(text)) return null;
  const host = canonicalHost(url.hostname);
  if (host === null) return null;
  const port = Number(url.port || 80);
  return { host, port, authority: url.host, path: `${url.pathname}${url.search}` };
}

const HOP_BY_HOP = new Set([
  'connection',
  'expect',
  'host',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

interface Forwarding {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Connected, and used for this request only. */
  readonly upstream: Socket;
  readonly target: HttpTarget;
}

/** A body is either counted or chunked; any other framing is one that two readers could understand differently. */
export function isPlainlyFramed({ headers }: IncomingMessage): boolean {
  const coding = headers['transfer-encoding'];
  return (
    coding === undefined || (coding.toLowerCase() === 'chunked' && headers['content-length'] === undefined)
  );
}

export function forwardRequest({ request, response, upstream, target }: Forwarding): void {
  const outgoing = httpRequest({
    method: request.method,
    path: target.path,
    createConnection: () => upstream,
    setHost: false,
    headers: { ...endToEnd(request), ...framing(request), host: target.authority, connection: 'close' },
  });
  let isAnswered = false;
  outgoing.on('error', () => fail(response));
  // Also for an answer that is none: nobody asked for another protocol (101), and if it is named Node only closes.
  outgoing.on('close', () => {
    if (!isAnswered) fail(response);
  });
  outgoing.on('response', (incoming) => {
    isAnswered = true;
    if (incoming.statusCode === 101) {
      outgoing.destroy();
      fail(response);
      return;
    }
    try {
      response.writeHead(incoming.statusCode ?? 502, { ...endToEnd(incoming), connection: 'close' });
    } catch {
      // A header that Node reads and will not write.
      fail(response);
      return;
    }
    // A response that breaks off breaks off for the sandbox too.
    pipeline(incoming, response, () => {});
  });
  request.pipe(outgoing);
}

/** Written by us and not copied: without it Node would send the body of a GET as if it were another request. */
function framing({ headers }: IncomingMessage): OutgoingHttpHeaders {
  if (headers['transfer-encoding'] !== undefined) return { 'transfer-encoding': 'chunked' };
  return headers['content-length'] === undefined ? {} : { 'content-length': headers['content-length'] };
}

function fail(response: ServerResponse): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  response.writeHead(502, { 'content-type': 'text/plain', connection: 'close' });
  response.end('egress proxy: the destination did not answer properly\n');
}

function endToEnd(message: IncomingMessage): OutgoingHttpHeaders {
  const named = (message.headers.connection ?? '').split(',').map((name) => name.trim().toLowerCase());
  return Object.fromEntries(
    Object.entries(message.headersDistinct).filter(
      ([name]) => !HOP_BY_HOP.has(name) && !named.includes(name),
    ),
  );
}
