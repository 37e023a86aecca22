// The name that a TLS client says it wants must be the one it told the proxy: else an allowed address, which may serve
// many names, would be a way to all of them. What follows the first message is encrypted and stays unread.
import { isIP } from 'node:net';
import { Transform, type TransformCallback } from 'node:stream';
import { EgressRefused } from './egress-resolve.js';
import { canonicalHost } from './egress-rules.js';

const HANDSHAKE_RECORD = 22;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
const MAX_HELLO_BYTES = 16 * 1024;

const UNREADABLE = 'its TLS greeting cannot be read';

/** What the first bytes of a connection are; `more` when they do not say it yet. */
export type Opening =
  | { readonly kind: 'more' | 'notTls' | 'broken' }
  | { readonly kind: 'tls'; readonly serverName: string | null };

/** Carries a tunnel's bytes from the sandbox; those of another TLS name than `host` are an EgressRefused. */
export class TlsNameCheck extends Transform {
  #greeting: GreetingReader | undefined = new GreetingReader();

  constructor(private readonly host: string) {
    super();
    // An address has no name to be compared with.
    if (isIP(host) !== 0) this.#greeting = undefined;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    const opening = this.#greeting?.push(chunk) ?? { kind: 'notTls' };
    const held = this.#greeting?.bytes ?? chunk;
    if (opening.kind !== 'more') this.#greeting = undefined;
    const wrong = whatIsWrong(opening, this.host);
    if (wrong) done(new EgressRefused(wrong));
    else if (opening.kind === 'more') done();
    else done(null, held);
  }

  override _flush(done: TransformCallback): void {
    done(this.#greeting?.bytes.length ? new EgressRefused(UNREADABLE) : null);
  }
}

function whatIsWrong(opening: Opening, host: string): string | null {
  if (opening.kind === 'broken') return UNREADABLE;
  if (opening.kind !== 'tls' || opening.serverName === null) return null;
  return canonicalHost(opening.serverName) === host ? null : 'its TLS greeting asks for another host';
}

export function readOpening(bytes: Buffer): Opening {
  return new GreetingReader().push(bytes);
}

/** Reads the client's greeting as it comes. Each record is looked at once, so that many small ones cost no more time. */
class GreetingReader {
  /** Everything that came, to be passed on. */
  bytes = Buffer.alloc(0);
  #message = Buffer.alloc(0);
  #nextRecordAt = 0;

  push(chunk: Buffer): Opening {
    this.bytes = Buffer.concat([this.bytes, chunk]);
    if (this.bytes.length === 0) return { kind: 'more' };
    if (this.bytes[0] !== HANDSHAKE_RECORD) return { kind: 'notTls' };
    try {
      const message = this.#readMessage();
      if (message === null) return { kind: this.bytes.length > MAX_HELLO_BYTES ? 'broken' : 'more' };
      return { kind: 'tls', serverName: serverNameOf(message) };
    } catch {
      return { kind: 'broken' };
    }
  }

  /** The body of the greeting, which may be spread over several records; null when it is not whole. */
  #readMessage(): Fields | null {
    while (this.bytes.length >= this.#nextRecordAt + 5) {
      const start = this.#nextRecordAt;
      if (this.bytes[start] !== HANDSHAKE_RECORD) throw new Error('another record between');
      const end = start + 5 + this.bytes.readUInt16BE(start + 3);
      // RFC 8446, section 5.1, forbids them: they would make the greeting long without saying anything.
      if (end === start + 5) throw new Error('an empty record');
      if (this.bytes.length < end) return null;
      this.#message = Buffer.concat([this.#message, this.bytes.subarray(start + 5, end)]);
      this.#nextRecordAt = end;
      if (this.#message[0] !== CLIENT_HELLO) throw new Error('another message first');
      if (this.#message.length < 4) continue;
      const length = this.#message.readUIntBE(1, 3);
      if (length > MAX_HELLO_BYTES) throw new Error('too long');
      if (this.#message.length >= 4 + length) return new Fields(this.#message.subarray(4, 4 + length));
    }
    return null;
  }
}

function serverNameOf(hello: Fields): string | null {
  // Version and random.
  hello.take(2 + 32);
  hello.list(1);
  const ciphers = hello.list(2);
  const compressions = hello.list(1);
  if (ciphers.isEmpty || compressions.isEmpty) throw new Error('no greeting');
  if (hello.isEmpty) return null;
  const names: string[] = [];
  for (const extensions = hello.list(2); !extensions.isEmpty; ) {
    const type = extensions.number(2);
    const body = extensions.list(2);
    if (type !== SERVER_NAME) continue;
    const list = body.list(2);
    if (list.number(1) !== 0) throw new Error('a name of another kind');
    names.push(list.take(list.number(2)).toString('latin1'));
    if (!list.isEmpty) throw new Error('two names');
  }
  if (names.length > 1) throw new Error('two names');
  return names[0] ?? null;
}

/** Reads one after the other, and throws where there is less than is said. */
class Fields {
  #at = 0;

  constructor(private readonly bytes: Buffer) {}

  get isEmpty(): boolean {
    return this.#at >= this.bytes.length;
  }

  take(length: number): Buffer {
    const end = this.#at + length;
    if (end > this.bytes.length) throw new Error('shorter than it says');
    const taken = this.bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }

  number(bytes: number): number {
    return this.take(bytes).readUIntBE(0, bytes);
  }

  /** What follows a length of this many bytes. */
  list(lengthBytes: number): Fields {
    return new Fields(this.take(this.number(lengthBytes)));
  }
}
