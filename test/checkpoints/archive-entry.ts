import * as fc from 'fast-check';
import t from 'tap';
import {
  entryHeader,
  escapeBytes,
  parseComment,
  unescapeBytes,
} from '../../src/checkpoints/archive-entry.js';
import type { TreeEntry } from '../../src/sandbox/tree.js';

const bytes = fc.uint8Array({ minLength: 1, maxLength: 300 }).map((array) => Buffer.from(array));

t.test('any bytes survive the escape, and come out as printable ASCII', (t) => {
  fc.assert(
    fc.property(bytes, (name) => {
      const escaped = escapeBytes(name);
      return /^[!-~]+$/.test(escaped) && unescapeBytes(escaped).equals(name);
    }),
  );
  t.end();
});

t.test('what a header says is what the entry was', (t) => {
  fc.assert(
    fc.property(
      bytes,
      bytes,
      fc.bigInt(-(2n ** 90n), 2n ** 90n),
      fc.nat(0o777),
      (path, target, mtimeNs, mode) => {
        const entry: TreeEntry = { type: 'symlink', path, target, mtimeNs, mode };
        const { pax } = entryHeader(entry) as unknown as { pax: { comment: string } };
        const said = parseComment(pax.comment)!;
        return (
          said.path.equals(path) &&
          said.target!.equals(target) &&
          said.mtimeNs === mtimeNs &&
          said.mode === mode
        );
      },
    ),
  );
  t.end();
});

t.test('other comments are none of ours', (t) => {
  for (const comment of [
    undefined,
    '',
    'hello',
    'codegen-worker',
    'codegen-worker 999 1 a',
    'codegen-worker 7 1 a b c',
  ]) {
    t.equal(parseComment(comment), undefined);
  }
  t.end();
});
