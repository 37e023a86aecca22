// A row of the table: one floor and one figure of the product, measured in turns, and whether the budget holds.

export type Unit = 'ms' | '/s' | 'MB/s' | 'MiB' | '';

export interface Summary {
  readonly median: number;
  readonly p95: number;
  readonly p99: number;
  readonly count: number;
}

export interface Row {
  /** Stays the same from run to run: a later run of the same row takes its place. */
  readonly work: string;
  readonly unit: Unit;
  readonly floor?: { readonly what: string } & Summary;
  readonly product: Summary;
  /** What the budget speaks of. */
  readonly figure: { readonly what: string; readonly value: number };
  /** None: the row is there to be compared with. */
  readonly budget?: { readonly is: '≤' | '≥'; readonly value: number };
  readonly note?: string;
}

export function summarize(values: readonly number[]): Summary {
  const sorted = values.toSorted((a, b) => a - b);
  return {
    median: quantile(sorted, 0.5),
    p95: quantile(sorted, 0.95),
    p99: quantile(sorted, 0.99),
    count: sorted.length,
  };
}

export function median(values: readonly number[]): number {
  return summarize(values).median;
}

function quantile(sorted: readonly number[], share: number): number {
  if (sorted.length === 0) throw new Error('nothing was measured');
  const at = (sorted.length - 1) * share;
  const [below, above] = [sorted[Math.floor(at)]!, sorted[Math.ceil(at)]!];
  return below + (above - below) * (at - Math.floor(at));
}

export function isMet({ figure, budget }: Row): boolean | null {
  if (!budget) return null;
  return budget.is === '≤' ? figure.value <= budget.value : figure.value >= budget.value;
}
