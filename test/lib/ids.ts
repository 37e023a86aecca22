import t from 'tap';
import { newId } from '../../src/lib/ids.js';

t.test('an id says what it names and is 26 characters of Crockford base32', async (t) => {
  t.match(newId('ses'), /^ses_[0-7][0-9a-hjkmnp-tv-z]{25}$/);
  t.match(newId('tsk'), /^tsk_/);
  t.match(newId('ckp'), /^ckp_/);
});

t.test('ids sort in the order they were made, and none is made twice', async (t) => {
  const ids = Array.from({ length: 20_000 }, () => newId('tsk'));
  t.same(ids.toSorted(), ids);
  t.equal(new Set(ids).size, ids.length);
});

t.test('an id begins with the time it was made', async (t) => {
  const before = Date.now();
  const text = newId('ses').slice(4, 14);
  const after = Date.now();
  let value = 0;
  for (const character of text) value = value * 32 + '0123456789abcdefghjkmnpqrstvwxyz'.indexOf(character);
  t.ok(value >= before && value <= after, 'its first ten characters are its milliseconds');
});
