// `npm run bench:growth [-- CURVE…] [--quick]`: measures how cost grows, and draws it: bench/growth-*.svg and growth.json.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Bench } from '../bench.js';
import { type Surroundings, surroundings } from '../noise.js';
import { growthPicture } from '../plot.js';
import type { Curve, Figures } from './curve.js';
import { events } from './events.js';
import { files } from './files.js';
import { readers } from './readers.js';
import { sessions } from './sessions.js';

interface Measured {
  readonly at: string;
  readonly surroundings: Surroundings;
  readonly points: readonly { readonly size: number; readonly figures: Figures }[];
}

const CURVES: readonly Curve[] = [sessions, events, files, readers];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: 'boolean', default: false } },
});
const unknown = positionals.filter((name) => !CURVES.some((curve) => curve.name === name));
if (unknown.length > 0) {
  console.error(
    `no such curve: ${unknown.join(', ')}; there are ${CURVES.map(({ name }) => name).join(', ')}`,
  );
  process.exit(2);
}

// The compiled file is in build/bench/growth.
const file = (name: string) => fileURLToPath(new URL(`../../../bench/${name}`, import.meta.url));
const known = existsSync(file('growth.json'))
  ? (JSON.parse(readFileSync(file('growth.json'), 'utf8')) as Record<string, Measured>)
  : {};
const around = await surroundings();
if (around.isBusy) console.error('The machine is busy with others: the figures will say so.');
for (const curve of CURVES.filter(({ name }) => positionals.length === 0 || positionals.includes(name))) {
  const points: { size: number; figures: Figures }[] = [];
  const bench = new Bench({ pairs: 0, rounds: 0, seconds: 0 });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => void bench.close().finally(() => process.exit(1)));
  }
  try {
    await curve.measure(bench, values.quick ? curve.quickSizes : curve.sizes, (size, figures) => {
      points.push({ size, figures });
      const shown = Object.entries(figures).map(([name, value]) => {
        const [title, unit] = curve.figures[name]!;
        return `${title}: ${value.toPrecision(3)} ${unit}`;
      });
      console.log(`${size} ${curve.of}: ${shown.join('; ')}`);
    });
  } finally {
    await bench.close();
  }
  // A quick run shows that it works and leaves no figures behind.
  if (values.quick) continue;
  known[curve.name] = { at: new Date().toISOString(), surroundings: around, points };
  const lines = Object.entries(curve.figures).map(([name, [title, unit]]) => ({
    title,
    unit,
    points: points.map(({ size, figures }) => ({ x: size, y: figures[name]! })),
  }));
  writeFileSync(file(`growth-${curve.name}.svg`), growthPicture(curve.of, lines));
  writeFileSync(file('growth.json'), `${JSON.stringify(known, null, 1)}\n`);
}
