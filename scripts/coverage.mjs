// Checks the coverage of the last `tap` run against what is promised for each part, and fails with the names.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const PROMISED = [
  { part: 'src', kind: 'lines', least: 80 },
  { part: 'src', kind: 'functions', least: 80 },
  { part: 'src', kind: 'branches', least: 80 },
  { part: 'src/sessions', kind: 'lines', least: 85 },
  { part: 'src/tasks', kind: 'lines', least: 85 },
  { part: 'src/tools', kind: 'lines', least: 75 },
  { part: 'src/checkpoints', kind: 'lines', least: 80 },
];

const summary = JSON.parse(readFileSync(join(root, '.tap/report/coverage-summary.json'), 'utf8'));
const files = sourcesWithCode().map((file) => ({
  file,
  ...(summary[join(root, file)] ?? neverLoaded(file)),
}));

for (const { part, kind, least } of PROMISED) {
  const members = files.filter(({ file }) => file.startsWith(`${part}/`));
  const total = sum(members, (member) => member[kind].total);
  const percent = total === 0 ? 0 : (100 * sum(members, (member) => member[kind].covered)) / total;
  const ok = percent >= least;
  const shown = `${percent.toFixed(1).padStart(5)} % of ${kind}, at least ${least} %`;
  console.log(`${ok ? 'ok     ' : 'NOT OK '} ${part.padEnd(16)} ${shown}`);
  if (ok) continue;
  process.exitCode = 1;
  for (const member of leastCovered(members, kind)) {
    console.log(`          ${member.file}: ${missed(member, kind)} of ${member[kind].total} ${kind} missed`);
  }
}

/** One with nothing but types has no code, and is in no report. */
function sourcesWithCode() {
  return readdirSync(join(root, 'src'), { recursive: true })
    .filter((name) => name.endsWith('.ts') && hasCode(join(root, 'build/src', name.replace(/ts$/, 'js'))))
    .map((name) => join('src', name));
}

function hasCode(compiled) {
  if (!existsSync(compiled)) return false;
  const code = readFileSync(compiled, 'utf8').replace(/^\/\/.*$/gm, '');
  return code.trim() !== 'export {};';
}

/** A file that no test loads is in no report either; it counts as not covered. */
function neverLoaded(file) {
  const lines = readFileSync(join(root, file), 'utf8').split('\n').length;
  const nothing = { total: 1, covered: 0 };
  return { lines: { total: lines, covered: 0 }, functions: nothing, branches: nothing };
}

function leastCovered(members, kind) {
  return members
    .filter((member) => missed(member, kind) > 0)
    .sort((a, b) => missed(b, kind) - missed(a, kind))
    .slice(0, 10);
}

function missed(member, kind) {
  return member[kind].total - member[kind].covered;
}

function sum(members, pick) {
  return members.reduce((whole, member) => whole + pick(member), 0);
}
