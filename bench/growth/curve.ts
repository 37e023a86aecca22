// How something grows with something else.
import type { Bench } from '../bench.js';

/** The figures at one size. */
export type Figures = Readonly<Record<string, number>>;

export interface Curve {
  readonly name: string;
  /** What x counts. */
  readonly of: string;
  readonly sizes: readonly number[];
  /** For `--quick`. */
  readonly quickSizes: readonly number[];
  /** Title and unit of each figure, by its name. */
  readonly figures: Readonly<Record<string, readonly [title: string, unit: string]>>;
  /** Calls `found` for each size, in their order. */
  measure(
    bench: Bench,
    sizes: readonly number[],
    found: (size: number, figures: Figures) => void,
  ): Promise<void>;
}
