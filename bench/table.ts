// The rows as a table for people, and the file that later runs add theirs to.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { Surroundings } from './noise.js';
import { isMet, type Row, type Summary, type Unit } from './row.js';

export interface Measured extends Row {
  readonly part: string;
  readonly at: string;
  readonly effort: string;
  readonly surroundings: Surroundings;
}

/** Rows of this run in the place of those of earlier runs; in the order of the parts. */
export function merge(known: readonly Measured[], fresh: readonly Measured[], parts: readonly string[]) {
  const ran = new Set(fresh.map(({ part }) => part));
  return [...known.filter(({ part }) => !ran.has(part)), ...fresh].toSorted(
    (a, b) => parts.indexOf(a.part) - parts.indexOf(b.part),
  );
}

export function readResults(path: string): Measured[] {
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Measured[]) : [];
}

export function writeResults(paths: { json: string; markdown: string }, rows: readonly Measured[]): void {
  writeFileSync(paths.json, `${JSON.stringify(rows, null, 1)}\n`);
  writeFileSync(paths.markdown, markdown(rows));
}

export function table(rows: readonly Measured[]): string {
  const head = ['part', 'work', 'floor', 'product: median', 'p95', 'p99', 'figure', 'budget', 'met'];
  const lines = rows.map((row) => [
    row.part,
    row.note ? `${row.work} (${row.note})` : row.work,
    row.floor ? `${show(row.floor.median, row.unit)} ${row.floor.what}` : '',
    show(row.product.median, row.unit),
    ...tail(row.product, row.unit),
    `${plain(row.figure.value)} ${row.figure.what}`,
    row.budget ? `${row.budget.is} ${plain(row.budget.value)}` : '',
    verdict(row),
  ]);
  return [head, head.map(() => '---'), ...lines]
    .map((cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`)
    .join('\n');
}

function verdict(row: Measured): string {
  const met = isMet(row);
  if (met === null) return '';
  return `${met ? 'yes' : '**no**'}${row.surroundings.isBusy ? ', busy' : ''}`;
}

function markdown(rows: readonly Measured[]): string {
  const runs = new Map(rows.map((row) => [`${row.at} ${row.effort}`, row]));
  const said = [...runs.values()].map(({ at, effort, surroundings, part }) => {
    const { machine, node, load1, othersPercent, jitterPercent, isBusy } = surroundings;
    const parts = rows.filter((row) => row.at === at).map((row) => row.part);
    return `- ${at}, ${effort}: ${machine}, Node ${node}; load ${plain(load1)}, others ${plain(othersPercent)} % of the processors, jitter ${plain(jitterPercent)} %${isBusy ? '. **The machine was busy: no claims from these rows**' : ''} (${[...new Set(parts)].join(', ') || part})`;
  });
  return `# Benchmark: the last run

Written by \`npm run bench\`. Floor and product were measured in turns, in the same run; a ratio is the median of the
ratios of neighbours. "busy" marks rows that were measured while others used the machine.

${table(rows)}

${said.join('\n')}
`;
}

function tail({ p95, p99, count }: Summary, unit: Unit): string[] {
  return count < 5 ? ['', ''] : [show(p95, unit), show(p99, unit)];
}

const show = (value: number, unit: Unit) => `${plain(value)}${unit === '' ? '' : ` ${unit}`}`;

function plain(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toLocaleString('en-US', { maximumFractionDigits: digits });
}
