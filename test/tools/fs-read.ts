import t from 'tap';
import { fsRead } from '../../src/tools/fs-read.js';
import { ToolError } from '../../src/tools/tool.js';
import { toolBench } from '../helpers/tool-context.js';

t.test('text comes as text, with its size', async (t) => {
  const bench = toolBench(t, { data: { 'test.txt': '\ufefftest – content' } });
  t.same((await fsRead.run(bench, { path: 'data/test.txt' })).outputs, {
    path: 'data/test.txt',
    contents: '\ufefftest – content',
    encoding: 'utf8',
    sizeBytes: 19,
  });
});

t.test('bytes that are no text come as base64, and as utf8 are refused with the way to go', async (t) => {
  const bench = toolBench(t, { 'a.bin': Buffer.from([0xff, 0x00, 0xfe]) });
  t.match((await fsRead.run(bench, { path: 'a.bin', encoding: 'base64' })).outputs, {
    contents: '/wD+',
    encoding: 'base64',
  });
  await t.rejects(fsRead.run(bench, { path: 'a.bin' }), { code: 'NOT_UTF8', message: /base64/ });
});

t.test('a range counts bytes, and may not cut a character', async (t) => {
  const bench = toolBench(t, { 'a.txt': 'aéb' });
  t.equal((await fsRead.run(bench, { path: 'a.txt', offset: 1, length: 2 })).outputs.contents, 'é');
  await t.rejects(fsRead.run(bench, { path: 'a.txt', offset: 2 }), { code: 'NOT_UTF8' });
});

t.test('what does not fit into a reply is refused with its size, in either encoding', async (t) => {
  const bench = toolBench(t, { 'a.txt': '123456789' }, { maxInlineBytes: 8 });
  await t.rejects(fsRead.run(bench, { path: 'a.txt' }), { code: 'FILE_TOO_LARGE', message: /9 bytes.*8/ });
  await t.rejects(fsRead.run(bench, { path: 'a.txt', encoding: 'base64', length: 7 }), {
    code: 'FILE_TOO_LARGE',
  });
  t.equal((await fsRead.run(bench, { path: 'a.txt', length: 8 })).outputs.contents, '12345678');
  t.equal(
    (await fsRead.run(bench, { path: 'a.txt', encoding: 'base64', length: 6 })).outputs.contents!.length,
    8,
  );
});

t.test('a refusal of the sandbox ends the task with its code', async (t) => {
  const bench = toolBench(t, { dir: {} });
  for (const [path, code] of [
    ['none', 'FILE_NOT_FOUND'],
    ['dir', 'NOT_A_FILE'],
    ['../up', 'PATH_OUTSIDE_WORKSPACE'],
  ] as const) {
    const error = await fsRead.run(bench, { path }).catch((error: unknown) => error);
    t.ok(error instanceof ToolError);
    t.match(error, { code });
  }
});
