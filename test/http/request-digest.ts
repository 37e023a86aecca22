import t from 'tap';
import { requestDigest } from '../../src/http/request-digest.js';

t.test('the order of members and parameters does not count; everything else does', async (t) => {
  const digest = requestDigest({ query: { a: 1, b: 2 }, body: { x: [1, 2], y: { p: 1, q: 2 } } });
  t.equal(requestDigest({ query: { b: 2, a: 1 }, body: { y: { q: 2, p: 1 }, x: [1, 2] } }), digest);
  t.not(requestDigest({ query: { a: 1, b: 2 }, body: { x: [2, 1], y: { p: 1, q: 2 } } }), digest);
  t.not(requestDigest({ query: { a: 1, b: 3 }, body: { x: [1, 2], y: { p: 1, q: 2 } } }), digest);
  t.not(
    requestDigest({ query: {}, body: Buffer.from('{}') }),
    requestDigest({ query: {}, body: Buffer.from('{} ') }),
  );
});

t.test('query and body cannot be moved into each other', async (t) => {
  t.not(requestDigest({ query: { a: '1' }, body: {} }), requestDigest({ query: {}, body: { a: '1' } }));
});

t.test('deep JSON: nesting without end is refused and not followed', async (t) => {
  let deep: unknown = 1;
  for (let i = 0; i < 100_000; i++) deep = [deep];
  t.throws(() => requestDigest({ query: {}, body: deep }), { code: 'VALIDATION_FAILED' });
});
