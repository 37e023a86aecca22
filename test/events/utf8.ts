import fc from 'fast-check';
import t from 'tap';
import { incompleteTail, orphanedHead } from '../../src/events/utf8.js';

t.test('the beginning of a character is told from a whole one', async (t) => {
  for (const character of ['a', 'ü', '€', '😀']) {
    const bytes = Buffer.from(character);
    for (let length = 1; length < bytes.length; length++) {
      t.equal(incompleteTail(bytes.subarray(0, length)), length, `${length} of ${character}`);
    }
    t.equal(incompleteTail(bytes), 0, character);
  }
  t.equal(incompleteTail(Buffer.alloc(0)), 0);
  t.equal(incompleteTail(Buffer.from([0x80, 0x80, 0x80, 0x80])), 0, 'stray continuations');
  t.equal(incompleteTail(Buffer.from([0x61, 0xff])), 0, 'a byte that begins nothing');
});

t.test('the rest of a character is told from a beginning', async (t) => {
  t.equal(orphanedHead(Buffer.from('😀a').subarray(1)), 3);
  t.equal(orphanedHead(Buffer.from('üa').subarray(1)), 1);
  t.equal(orphanedHead(Buffer.from('a')), 0);
});

t.test('any bytes, cut anywhere and joined at whole characters, read as if never cut', async () => {
  const byte = fc.oneof(
    fc.integer({ min: 0, max: 255 }),
    fc.constantFrom(0xc3, 0xe2, 0x82, 0xf0, 0x9f, 0x80, 0xff),
  );
  fc.assert(
    fc.property(fc.array(fc.array(byte, { maxLength: 6 }), { maxLength: 12 }), (chunks) => {
      let text = '';
      let held = Buffer.alloc(0);
      for (const chunk of chunks) {
        const bytes = Buffer.concat([held, Buffer.from(chunk)]);
        const cut = bytes.length - incompleteTail(bytes);
        text += bytes.subarray(0, cut).toString('utf8');
        held = bytes.subarray(cut);
      }
      return text + held.toString('utf8') === Buffer.from(chunks.flat()).toString('utf8');
    }),
    { numRuns: 2000 },
  );
});
