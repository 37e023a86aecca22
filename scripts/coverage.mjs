// Checks the coverage of the last `tap` run against what is promised for each part, and fails with the names.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const PROMISED = [
  { part: 'src', least: 80 },
  { part: 'src/sessions', least: 85 },
  { part: 'src/tasks', least: 85 },
  { part: 'src/tools', least: 75 },
  { part: 'src/checkpoints', least: 80 },
];

const summary = JSON.parse(readFileSync(join(root, '.tap/report/coverage-summary.json'), 'utf8'));
const files = new Map(sourcesWithCode().map((file) => [file, linesOf(file)]));
for (const [path, { lines }] of Object.entries(summary)) {
  const file = relative(root, path);
  if (files.has(file)) files.set(file, lines);
}

let short = false;
for (const kind of ['functions', 'branches']) {
  if (summary.total[kind].pct >= 80) continue;
  short = true;
  console.log(`NOT OK src              ${summary.total[kind].pct} % of ${kind}, at least 80 %`);
}
for (const { part, least } of PROMISED) {
  const members = [...files].filter(([file]) => file.startsWith(`${part}/`));
  const total = sum(members, ({ total }) => total);
  const covered = sum(members, ({ covered }) => covered);
  const percent = total === 0 ? 100 : Math.floor((1000 * covered) / total) / 10;
  const ok = percent >= least;
  console.log(
    `${ok ? 'ok    ' : 'NOT OK'} ${part.padEnd(16)} ${percent.toFixed(1).padStart(5)} % of lines, at least ${least} %`,
  );
  if (ok) continue;
  short = true;
  for (const [file, lines] of leastCovered(members)) {
    console.log(`         ${file}: ${lines.total - lines.covered} of ${lines.total} lines are not covered`);
  }
}
console.log('html: .tap/report/index.html');
if (short) process.exitCode = 1;

/** A file that no test loads is in no report; it counts as not covered. One with nothing but types has no code. */
function sourcesWithCode() {
  return readdirSync(join(root, 'src'), { recursive: true })
    .filter((name) => name.endsWith('.ts'))
    .filter((name) => hasCode(join(root, 'build/src', name.replace(/ts$/, 'js'))))
    .map((name) => join('src', name));
}

function hasCode(compiled) {
  if (!existsSync(compiled)) return false;
  const text = readFileSync(compiled, 'utf8')
    .replace(/^\/\/.*$/gm, '')
    .trim();
  return text !== 'export {};';
}

function linesOf(file) {
  return { total: readFileSync(join(root, file), 'utf8').split('\n').length, covered: 0 };
}

function leastCovered(members) {
  return members
    .filter(([, lines]) => lines.covered < lines.total)
    .sort(([, a], [, b]) => b.total - b.covered - (a.total - a.covered))
    .slice(0, 10);
}

function sum(members, pick) {
  return members.reduce((whole, [, lines]) => whole + pick(lines), 0);
}
