import t from 'tap';
import { isMet, type Row, summarize } from '../../bench/row.js';
import { type Measured, merge, table } from '../../bench/table.js';

const surroundings = {
  machine: 'm',
  node: 'v20',
  load1: 0,
  othersPercent: 0,
  jitterPercent: 0,
  isBusy: false,
};

const row = (part: string, value: number, changes: Partial<Measured> = {}): Measured => ({
  part,
  work: `work of ${part}`,
  unit: 'ms',
  floor: { what: 'bare', ...summarize([10]) },
  product: summarize([value]),
  figure: { what: '× floor', value: value / 10 },
  budget: { is: '≤', value: 0.6 },
  at: 'now',
  effort: 'full',
  surroundings,
  ...changes,
});

t.test('quantiles lie between the values', async (t) => {
  const { median, p95, p99, count } = summarize(Array.from({ length: 101 }, (_, n) => 100 - n));
  t.same({ median, p95, p99, count }, { median: 50, p95: 95, p99: 99, count: 101 });
  t.equal(summarize([1, 2]).median, 1.5);
  t.throws(() => summarize([]), { message: 'nothing was measured' });
});

t.test('a budget is met from below or from above', async (t) => {
  const of = (value: number, is: '≤' | '≥'): Row => ({
    ...row('x', 1),
    figure: { what: '', value },
    budget: { is, value: 2 },
  });
  t.same(
    [isMet(of(2, '≤')), isMet(of(3, '≤')), isMet(of(2, '≥')), isMet(of(1, '≥'))],
    [true, false, true, false],
  );
  const { budget: _none, ...compared } = row('x', 1);
  t.equal(isMet(compared), null);
});

t.test('a table says what was missed, and what was measured on a busy machine', async (t) => {
  const busy = { ...surroundings, isBusy: true };
  const text = table([row('a', 5), row('b', 7), row('c', 5, { surroundings: busy })]);
  const [, , a, b, c] = text.split('\n');
  t.match(a, /\| 10 ms bare \| 5 ms \|.*\| 0\.5 × floor \| ≤ 0\.6 \| yes \|$/);
  t.match(table([row('a | b', 5)]), /a \\\| b/, 'a bar in a cell is no end of it');
  t.match(b, /\| \*\*no\*\* \|$/);
  t.match(c, /\| yes, busy \|$/);
});

t.test(
  'rows of a part that ran again take the place of the old ones, in the order of the parts',
  async (t) => {
    const merged = merge([row('a', 1), row('b', 1)], [row('a', 2), row('c', 2)], ['c', 'a', 'b']);
    t.same(
      merged.map(({ part, product }) => [part, product.median]),
      [
        ['c', 2],
        ['a', 2],
        ['b', 1],
      ],
    );
  },
);
