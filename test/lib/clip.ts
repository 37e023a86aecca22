import t from 'tap';
import { beginning, clip } from '../../src/lib/clip.js';

t.test('a text is cut between characters', async (t) => {
  t.equal(beginning('ab', 2), 'ab');
  t.equal(beginning('abc', 2), 'ab');
  t.equal(beginning('a\ud83d\ude00', 2), 'a');
  t.equal(beginning('a\ud83d\ude00b', 3), 'a\ud83d\ude00');
  t.equal(beginning('\ud83d\ude00', 1), '');
  t.equal(clip('ab', 2), 'ab');
  t.equal(clip('\ud83d\ude00\ud83d\ude00', 3), '\ud83d\ude00…');
});
