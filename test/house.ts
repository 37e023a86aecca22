// Rules of the house that no linter knows.
import { basename } from 'node:path';
import t from 'tap';
import { ourFiles, readOurs } from './helpers/sources.js';

const files = ourFiles();
const code = files.filter((file) => /^(src|test|scripts|bench)\//.test(file));
const typescript = code.filter((file) => file.endsWith('.ts'));

function naming(pattern: RegExp, among: readonly string[]): string[] {
  return among.filter((file) => file !== 'test/house.ts' && pattern.test(readOurs(file)));
}

t.test('file names are kebab-case', async (t) => {
  const kebab = /^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+)*$/;
  // Python has no hyphens in the names of modules; documents have the names that documents have.
  const named = code.filter((file) => !/\.(py|md)$/.test(file));
  t.same(
    named.filter((file) => !kebab.test(basename(file))),
    [],
  );
});

/** Lists of one entry after the other, which nobody reads from the beginning to the end. */
const CATALOGUES = ['src/errors.ts', 'src/config.ts'];

t.test('a source file fits in one sitting', async (t) => {
  const long = code.filter(
    (file) =>
      file.startsWith('src/') && !CATALOGUES.includes(file) && readOurs(file).split('\n').length > 400,
  );
  t.same(long, []);
});

t.test('no test is run alone', async (t) => {
  t.same(naming(/\b(t|test)\.only\(|\bonly: true/, typescript), []);
});

t.test('plans are in the issues, not in the code', async (t) => {
  t.same(naming(/\b(TODO|FIXME|XXX)\b/, code), []);
});

t.test(
  'the lockfile names no place to download from, and no package runs a script when installed',
  async (t) => {
    const lock = readOurs('package-lock.json');
    t.notMatch(lock, /"resolved"/);
    t.notMatch(lock, /"hasInstallScript"/);
  },
);

t.test('the lockfile has the binaries for every machine, without which npm ci refuses it', async (t) => {
  const locked: Record<string, { optionalDependencies?: object }> = JSON.parse(
    readOurs('package-lock.json'),
  ).packages;
  const asked = Object.values(locked).flatMap(({ optionalDependencies }) =>
    Object.keys(optionalDependencies ?? {}),
  );
  t.same(
    asked.filter((name) => !(`node_modules/${name}` in locked)),
    [],
  );
});

t.test('nothing names a package registry or the machine it was written on', async (t) => {
  const text = files.filter((file) => !/\.(png|gz|whl|ico)$/.test(file));
  t.same(naming(/registry\.npmjs|deb\.debian\.org|\/work\/(main|shared)\b|\/root\/\.pyenv/, text), []);
});

t.test('dependencies are pinned to a version', async (t) => {
  const { dependencies, devDependencies } = JSON.parse(readOurs('package.json'));
  const loose = Object.entries<string>({ ...dependencies, ...devDependencies }).filter(
    ([, version]) => !/^\d+\.\d+\.\d+$/.test(version),
  );
  t.same(loose, []);
});
