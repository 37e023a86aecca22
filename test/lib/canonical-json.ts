import t from 'tap';
import { canonicalJson } from '../../src/lib/canonical-json.js';

t.test('equal values have equal text, whatever the order of their members', async (t) => {
  t.equal(canonicalJson({ b: [1, { d: 1, c: 2 }], a: null }), '{"a":null,"b":[1,{"c":2,"d":1}]}');
  t.equal(canonicalJson({ a: undefined, b: 1 }), canonicalJson({ b: 1 }));
  t.not(canonicalJson([1, 2]), canonicalJson([2, 1]));
});

t.test('nesting without end is refused and not followed', async (t) => {
  let deep: unknown = 1;
  for (let i = 0; i < 100_000; i++) deep = [deep];
  t.throws(() => canonicalJson(deep), { message: 'nested deeper than 100' });
});
