import { execFileSync } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { GzipBlocks } from '../../src/checkpoints/gzip-blocks.js';

async function compress(chunks: Buffer[]) {
  const gzip = new GzipBlocks();
  const parts: Buffer[] = [];
  await pipeline(
    Readable.from(chunks, { objectMode: false }),
    gzip,
    async (source: AsyncIterable<Buffer>) => {
      for await (const part of source) parts.push(part);
    },
  );
  return { bytes: Buffer.concat(parts), trailer: gzip.trailer() };
}

t.test('one ordinary gzip member, for nothing, little, much, and bytes that do not shrink', async (t) => {
  const random = randomFillSync(Buffer.alloc(2_500_000));
  for (const chunks of [
    [],
    [Buffer.from('hello')],
    [Buffer.alloc(5_000_001, 'abc')],
    [random],
    Array.from({ length: 400 }, (_, i) =>
      Buffer.concat([random.subarray(i * 5000, i * 5000 + 5000), Buffer.alloc(9000)]),
    ),
  ]) {
    const whole = Buffer.concat(chunks);
    const { bytes, trailer } = await compress(chunks);
    t.ok(gunzipSync(bytes).equals(whole), `${whole.length} bytes`);
    t.ok(bytes.subarray(-8).equals(trailer));
    t.ok(execFileSync('gzip', ['-dc'], { input: bytes, maxBuffer: 2 ** 25 }).equals(whole), 'for gzip, too');
  }
});

t.test('what shrinks is made small', async (t) => {
  t.ok((await compress([Buffer.alloc(5_000_000, 'text ')])).bytes.length < 50_000);
});
