// One file instead of hundreds: what it exports is what Node finds in the packages themselves.
import { execFileSync } from 'node:child_process';
import { copyFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import t from 'tap';
import { root } from '../helpers/sources.js';

const packed = join(root, 'build/node_modules');
const names = readdirSync(packed, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .flatMap(({ name }) =>
    name.startsWith('@') ? readdirSync(join(packed, name)).map((each) => `${name}/${each}`) : [name],
  );

/** Each export of each package and what it is, as somebody sees it who is in this folder. */
function exportsSeenIn(folder: string): Record<string, Record<string, string>> {
  const code = `
    const seen = {};
    for (const name of ${JSON.stringify(names)}) {
      const exports = await import(name);
      seen[name] = Object.fromEntries(Object.keys(exports).sort().map((key) => [key, typeof exports[key]]));
    }
    process.stdout.write(JSON.stringify(seen));`;
  return JSON.parse(
    execFileSync(process.execPath, ['--input-type=module', '-e', code], { cwd: folder, encoding: 'utf8' }),
  );
}

t.test('a packed package exports what the package does', async (t) => {
  t.ok(names.length > 10, names.join(' '));
  const own = exportsSeenIn(root);
  for (const exports of Object.values(own)) delete exports['module.exports'];
  t.strictSame(exportsSeenIn(join(root, 'build')), own);
});

t.test('nothing is searched for in node_modules that the packed file has', async (t) => {
  const loadedBy = (program: string): string[] => {
    const code = `
      import { createRequire } from 'node:module';
      ${program}
      process.stdout.write(JSON.stringify(Object.keys(createRequire(import.meta.url).cache)));`;
    return JSON.parse(
      execFileSync(process.execPath, ['--input-type=module', '-e', code], { cwd: root, encoding: 'utf8' }),
    );
  };
  // A test runner has its own in every process.
  const others = loadedBy('');
  const app = pathToFileURL(join(root, 'build/src/app.js')).href;
  const loaded = loadedBy(`await import(${JSON.stringify(app)});`);
  t.strictSame(
    loaded.filter((path) => !others.includes(path)),
    [join(packed, 'packages.cjs')],
  );
});

t.test('a packed file still knows where it lies', async (t) => {
  // A transport is a file beside pino's own, which a thread of its own loads.
  const code = `
    const { pino } = require('pino');
    pino(pino.transport({ target: 'pino/file', options: { destination: 1 } })).info('through a thread');`;
  const text = execFileSync(process.execPath, ['-e', code], { cwd: join(root, 'build'), encoding: 'utf8' });
  t.match(text, 'through a thread');
});

t.test('nothing makes a file strict that does not say so itself', async (t) => {
  const text = readFileSync(join(packed, 'packages.js'), 'utf8');
  t.ok(text.startsWith('(function (require, __dirname) {\nconst files = [\n["'), text.slice(0, 100));
});

t.test('what V8 kept of the file is taken, and what it cannot take does no harm', async (t) => {
  const folder = t.testdir();
  const copy = join(folder, 'packages.v8');
  for (const name of ['packages.cjs', 'packages.js', 'packages.v8']) {
    copyFileSync(join(packed, name), join(folder, name));
  }
  const starts = (...options: string[]) => {
    const code = `
      const { isAsKept, load } = require(${JSON.stringify(join(folder, 'packages.cjs'))});
      process.stdout.write(JSON.stringify([isAsKept, typeof load(0)]));`;
    return JSON.parse(execFileSync(process.execPath, [...options, '-e', code], { encoding: 'utf8' }));
  };
  t.strictSame(starts(), [true, 'function']);
  t.strictSame(starts('--no-opt'), [false, 'function'], 'kept by a V8 with other options');
  const kept = readFileSync(copy);
  writeFileSync(copy, kept.subarray(0, kept.length >> 1));
  t.strictSame(starts(), [false, 'function'], 'half of it');
  writeFileSync(copy, 'nonsense');
  t.strictSame(starts(), [false, 'function'], 'something else');
  rmSync(copy);
  t.strictSame(starts(), [false, 'function'], 'nothing');
});
