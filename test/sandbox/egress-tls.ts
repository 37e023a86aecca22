import { buffer } from 'node:stream/consumers';
import t from 'tap';
import { readOpening, TlsNameCheck } from '../../src/sandbox/egress-tls.js';
import { greeting } from '../helpers/tls-greeting.js';

/** The same message in records of at most this many bytes. */
function inRecordsOf(size: number, hello: Buffer): Buffer {
  const message = hello.subarray(5);
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += size) {
    const piece = message.subarray(at, at + size);
    records.push(Buffer.from([22, 3, 1, piece.length >> 8, piece.length & 0xff]), piece);
  }
  return Buffer.concat(records);
}

async function through(host: string, pieces: readonly Buffer[]): Promise<Buffer | string> {
  const check = new TlsNameCheck(host);
  const out = buffer(check).catch((error: Error) => error.message);
  for (const piece of pieces) check.write(piece);
  check.end();
  return out;
}

const inBytes = (bytes: Buffer) => Array.from(bytes, (byte) => Buffer.from([byte]));

t.test('the name in a TLS greeting is found, however it is cut', async (t) => {
  const hello = await greeting('files.example.com');
  for (const bytes of [hello, inRecordsOf(1, hello), inRecordsOf(50, hello)]) {
    t.same(readOpening(bytes), { kind: 'tls', serverName: 'files.example.com' });
    for (const end of [1, 3, 5, 6, 20, bytes.length - 1]) {
      t.same(readOpening(bytes.subarray(0, end)), { kind: 'more' }, `${end} bytes`);
    }
  }
  t.same(readOpening(await greeting(undefined)), { kind: 'tls', serverName: null });
  t.same(readOpening(Buffer.from('SSH-2.0-x\r\n')), { kind: 'notTls' });
});

t.test('the greeting passes whole when it names the host that was checked', async (t) => {
  const hello = await greeting('Files.Example.com');
  const bytes = Buffer.concat([hello, Buffer.from('and more')]);
  t.same(await through('files.example.com', [bytes]), bytes);
  t.same(await through('files.example.com', inBytes(bytes)), bytes);
  t.same(await through('192.0.2.1', [bytes]), bytes, 'an address has no name to compare with');
  const plain = [Buffer.from('GET / '), Buffer.from('HTTP/1.1')];
  t.same(await through('files.example.com', plain), Buffer.concat(plain));
  t.same(await through('files.example.com', []), Buffer.alloc(0));
});

t.test('a greeting for another host, or one that cannot be read, is refused', async (t) => {
  const hello = await greeting('secret.example.com');
  const other = 'its TLS greeting asks for another host';
  t.equal(await through('files.example.com', [hello]), other);
  t.equal(await through('files.example.com', inBytes(inRecordsOf(7, hello))), other);
  const unreadable = 'its TLS greeting cannot be read';
  t.equal(await through('files.example.com', [hello.subarray(0, 100)]), unreadable, 'never whole');
  t.equal(await through('files.example.com', [Buffer.from([22, 3, 1, 0, 4, 2, 0, 0, 0])]), unreadable);
  const empty = Buffer.concat(Array.from({ length: 4000 }, () => Buffer.from([22, 3, 1, 0, 0])));
  t.equal(await through('files.example.com', [empty]), unreadable, 'records without end');
  const oneEmpty = Buffer.concat([Buffer.from([22, 3, 1, 0, 0]), hello]);
  t.same(readOpening(oneEmpty), { kind: 'broken' }, 'an empty record is refused at once');
  t.same(readOpening(Buffer.from([22, 3, 1, 0, 0])), { kind: 'broken' });
  for (let at = 5; at < hello.length; at += 1) {
    const bent = Buffer.from(hello);
    bent[at] = 0xff - bent[at]!;
    t.ok(['tls', 'broken', 'more'].includes(readOpening(bent).kind));
  }
});
