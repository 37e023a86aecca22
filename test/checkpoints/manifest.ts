import { Readable, Writable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import t from 'tap';
import { changesBetween, readManifest, writeManifest } from '../../src/checkpoints/manifest.js';

async function written(manifest: ReadonlyMap<string, string>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const to = new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk);
      done();
    },
  });
  await writeManifest(manifest, to);
  return Buffer.concat(chunks);
}

t.test('a manifest is read as it was written', async (t) => {
  const manifest = new Map([
    ['a', '644 1 f 0'],
    ['b/c', '777 2 l target'],
  ]);
  const bytes = await written(manifest);
  t.same(await readManifest(Readable.from([bytes])), manifest);
  t.same(changesBetween(manifest, new Map([['a', '600 1 f 0']])), { created: 0, modified: 1, deleted: 1 });
});

t.test('one that is too large is refused before it is in memory, however small it is packed', async (t) => {
  const bytes = gzipSync(Buffer.alloc(10_000_000, 'x'));
  await t.rejects(readManifest(Readable.from([bytes]), 1_000_000), /more than 1000000 bytes/);
});
