import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { ValidationFailed } from '../../src/errors.js';
import { fsWrite } from '../../src/tools/fs-write.js';
import { toolBench } from '../helpers/tool-context.js';

t.test('it reports the bytes it wrote', async (t) => {
  const bench = toolBench(t);
  for (const [path, contents, bytesWritten] of [
    ['test.txt', 'test data', 9],
    ['data/test.txt', 'test content', 12],
    ['data/umlaut.txt', 'ü', 2],
  ] as const) {
    t.same((await fsWrite.run(bench, { path, contents })).outputs, { path, bytesWritten });
    t.equal(readFileSync(join(bench.root, path), 'utf8'), contents);
  }
  t.same(bench.reported, [], 'nothing to report of so little');
});

t.test('base64 is written as the bytes it stands for', async (t) => {
  const bench = toolBench(t);
  await fsWrite.run(bench, { path: 'a.bin', contents: '/wD+', encoding: 'base64' });
  t.same([...readFileSync(join(bench.root, 'a.bin'))], [255, 0, 254]);
});

t.test('append and createDirs are honoured', async (t) => {
  const bench = toolBench(t, { 'a.txt': 'a' });
  await fsWrite.run(bench, { path: 'a.txt', contents: 'b', append: true });
  t.equal(readFileSync(join(bench.root, 'a.txt'), 'utf8'), 'ab');
  await t.rejects(fsWrite.run(bench, { path: 'no/a', contents: '', createDirs: false }), {
    code: 'FILE_NOT_FOUND',
  });
});

t.test('much is reported as it is written, and never as more than there is', async (t) => {
  const bench = toolBench(t);
  await fsWrite.run(bench, { path: 'big.txt', contents: 'x'.repeat(3_000_000) });
  t.ok(bench.reported.length > 3);
  t.match(bench.reported[0], { stage: 'writing', message: '262144 of 3000000 bytes', percentComplete: 8 });
  t.ok(bench.reported.every(({ percentComplete }) => percentComplete! < 100));
});

t.test('contents that would not be written as they are given are refused at submission', (t) => {
  for (const contents of ['/wD', '/wD=', '/wD+ ', 'a', '!!!!', '_-8=', 'QR==']) {
    t.throws(() => fsWrite.check!({ path: 'a', contents, encoding: 'base64' }), ValidationFailed, contents);
  }
  t.throws(() => fsWrite.check!({ path: 'a', contents: 'half \ud83d' }), ValidationFailed);
  for (const contents of ['', '/wD+', 'QQ==']) {
    fsWrite.check!({ path: 'a', contents, encoding: 'base64' });
  }
  fsWrite.check!({ path: 'a', contents: 'whole \ud83d\ude00' });
  t.end();
});
