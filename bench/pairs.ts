// Floor and product in turns, so that what drifts (a neighbour, a hot processor) hits both: the figure is the median of
// the ratios of neighbours, and not the ratio of two medians from different minutes.
import { median, type Row, summarize, type Unit } from './row.js';

export type Measure = () => Promise<number>;

export interface Pairs {
  readonly floor: readonly number[];
  readonly product: readonly number[];
  readonly ratio: number;
}

/** Warms both up, then measures them one after the other, beginning with the one and then with the other. */
export async function inTurns(
  count: number,
  measures: { readonly floor: Measure; readonly product: Measure },
  warmUps = Math.ceil(count / 10),
): Promise<Pairs> {
  const floor: number[] = [];
  const product: number[] = [];
  for (let round = -warmUps; round < count; round += 1) {
    const order = ['floor', 'product'] as const;
    for (const which of round % 2 === 0 ? order : order.toReversed()) {
      const value = await measures[which]();
      if (round >= 0) (which === 'floor' ? floor : product).push(value);
    }
  }
  return { floor, product, ratio: median(product.map((value, index) => value / floor[index]!)) };
}

/** The row of such pairs, whose figure is their ratio. */
export function ratioRow(
  pairs: Pairs,
  row: Pick<Row, 'work' | 'budget' | 'note'> & { readonly unit: Unit; readonly floorIs: string },
): Row {
  const { floorIs, ...rest } = row;
  return {
    ...rest,
    floor: { what: floorIs, ...summarize(pairs.floor) },
    product: summarize(pairs.product),
    figure: { what: '× floor', value: pairs.ratio },
  };
}

/** Runs this many loops side by side for a time and gives how many turns they made in a second. */
export async function closedLoop(
  loops: number,
  seconds: number,
  turn: (loop: number) => Promise<unknown>,
): Promise<number> {
  const begun = performance.now();
  const end = begun + seconds * 1000;
  let turns = 0;
  await Promise.all(
    Array.from({ length: loops }, async (_, loop) => {
      while (performance.now() < end) {
        await turn(loop);
        turns += 1;
      }
    }),
  );
  return turns / ((performance.now() - begun) / 1000);
}

export async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await work();
  return performance.now() - begun;
}
