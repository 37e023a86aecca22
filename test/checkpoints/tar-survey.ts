import { join } from 'node:path';
import t from 'tap';
import { Survey } from '../../src/checkpoints/survey.js';
import { TarSurvey } from '../../src/checkpoints/tar-survey.js';
import { packTree } from '../../src/sandbox/tree-pack.js';
import { treePrograms } from '../helpers/tree.js';

const { signal } = new AbortController();

async function packed(root: string): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of packTree(treePrograms(root), signal)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

t.test('it learns the same, however the stream is cut, and changes nothing', async (t) => {
  const root = join(
    t.testdir({ tree: { a: 'a', b: { c: 'c'.repeat(1000), ['n'.repeat(200)]: '' } } }),
    'tree',
  );
  const bytes = await packed(root);
  const end = bytes.lastIndexOf('\0') + 1;
  for (const size of [1, 7, 512, 513, bytes.length]) {
    const survey = new Survey();
    const tar = new TarSurvey(survey);
    const out: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += size) out.push(tar.push(bytes.subarray(at, at + size)));
    tar.end();
    t.ok(Buffer.concat(out).equals(bytes.subarray(0, end)), `pieces of ${size}`);
    t.match(survey, { fileCount: 3, entryCount: 4, uncompressedBytes: 1001, skipped: {} });
    t.same([...survey.manifest!.keys()], ['a', 'b/c', `b/${'n'.repeat(200)}`]);
  }
});

t.test('a stream that is cut off, or is none of ours, is refused', async (t) => {
  const bytes = await packed(t.testdir({ a: 'a' }));
  for (const length of [0, 100, 512, 1500, bytes.lastIndexOf('\0') - 600]) {
    const tar = new TarSurvey(new Survey());
    tar.push(bytes.subarray(0, length));
    t.throws(() => tar.end(), { message: /too early/ }, `${length} bytes`);
  }
  const push = (change: (copy: Buffer) => void) => {
    const copy = Buffer.from(bytes);
    change(copy);
    const tar = new TarSurvey(new Survey());
    tar.push(copy);
    tar.end();
  };
  t.throws(() => push((copy) => copy.write('1', 156)), { message: /type 1/ });
  t.throws(() => push((copy) => copy.write('X', copy.indexOf('codegen-worker'))), { message: /type 0/ });
  t.throws(() => push((copy) => copy.write('9', 512)), { message: /pax header/ });
  t.throws(() => push((copy) => copy.write('{', copy.lastIndexOf('\0') + 2)), 'a broken report');
});
