// `npm run bench [-- PART…] [--quick]`: measures, prints the table, and puts it into bench/RESULTS.md and results.json.
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Bench, type Effort, type Part } from './bench.js';
import { surroundings } from './noise.js';
import { cancel } from './parts/cancel.js';
import { checkpoints } from './parts/checkpoints.js';
import { clients } from './parts/clients.js';
import { echo } from './parts/echo.js';
import { memory } from './parts/memory.js';
import { output } from './parts/output.js';
import { packages } from './parts/packages.js';
import { peers } from './parts/peers.js';
import { python } from './parts/python.js';
import { readers } from './parts/readers.js';
import { sessions } from './parts/sessions.js';
import { start } from './parts/start.js';
import { stdlib } from './parts/stdlib.js';
import { type Measured, merge, readResults, table, writeResults } from './table.js';

const PARTS: readonly Part[] = [
  python,
  clients,
  stdlib,
  sessions,
  echo,
  output,
  readers,
  cancel,
  checkpoints,
  packages,
  memory,
  start,
  peers,
];
const FULL: Effort = { pairs: 200, rounds: 5, seconds: 4 };
/** To see that it works: too little to say anything. */
const QUICK: Effort = { pairs: 10, rounds: 1, seconds: 1 };

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { quick: { type: 'boolean', default: false } },
});
const names = PARTS.map(({ name }) => name);
const unknown = positionals.filter((name) => !names.includes(name));
if (unknown.length > 0) {
  console.error(`no such part: ${unknown.join(', ')}; there are ${names.join(', ')}`);
  process.exit(2);
}
const wanted = PARTS.filter(({ name }) => positionals.length === 0 || positionals.includes(name));

// The compiled file is in build/bench.
const file = (name: string) => fileURLToPath(new URL(`../../bench/${name}`, import.meta.url));
const around = await surroundings();
if (around.isBusy) console.error('The machine is busy with others: the figures will say so.');
let open: Bench | undefined;
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void open?.close().finally(() => process.exit(1)));
}
const at = new Date().toISOString();
const fresh: Measured[] = [];
for (const part of wanted) {
  const bench = new Bench(values.quick ? QUICK : FULL);
  open = bench;
  try {
    const rows = await part.run(bench);
    const effort = values.quick ? 'quick' : 'full';
    fresh.push(...rows.map((row) => ({ part: part.name, ...row, at, effort, surroundings: around })));
    console.error(`${part.name}: done`);
  } finally {
    await bench.close();
  }
}
console.log(table(fresh));
// A quick run shows that it works and leaves no figures behind.
if (!values.quick) {
  const paths = { json: file('results.json'), markdown: file('RESULTS.md') };
  writeResults(paths, merge(readResults(paths.json), fresh, names));
}
