// The packages that the service loads when it starts are some 600 small CommonJS files, and to find and read them is much of
// the start. Here they are put into one file, each unchanged in a function of its own as Node would wrap it. It lies in
// build/node_modules, where Node looks before it looks in node_modules: what is compiled imports packages as ever. Beside it
// lies what V8 made of it, so that a start compiles none of it.
// `node scripts/pack-packages.mjs [out]`.
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { extname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileFunction } from 'node:vm';

const root = fileURLToPath(new URL('..', import.meta.url));
const home = join(root, 'node_modules') + sep;

/** Not those that are loaded only when needed, nor those that are no CommonJS. */
const PACKAGES = [
  '@fastify/ajv-compiler',
  '@fastify/websocket',
  '@sinclair/typebox',
  'close-with-grace',
  'env-schema',
  'fastify',
  'kysely',
  'negotiator',
  'pino',
  'pino-pretty',
  'prom-client',
  'tar',
  'ws',
];

const REQUEST = /\brequire\(\s*(['"])([^'"\n]+)\1\s*\)/g;

/** The number of each file that was looked at, when it was taken: its place among the files. */
const numbers = new Map();
const files = [];

/** Takes a file with all that it asks for, and returns its number; none of a file that is better left to Node. */
function take(path) {
  if (numbers.has(path)) return numbers.get(path);
  const text = path.startsWith(home) ? commonJs(path) : undefined;
  const number = text === undefined ? undefined : files.length;
  numbers.set(path, number);
  if (text === undefined) return undefined;
  const file = { path: relative(root, path), requests: {}, text };
  files.push(file);
  for (const [, , request] of text.matchAll(REQUEST)) {
    const asked = take(resolveFrom(path, request));
    if (asked !== undefined) file.requests[request] = asked;
  }
  return number;
}

function commonJs(path) {
  switch (extname(path)) {
    case '.json':
      return `module.exports = ${readFileSync(path, 'utf8')};`;
    case '.js':
    case '.cjs': {
      const text = readFileSync(path, 'utf8').replace(/^\/\/# sourceMappingURL=.*$/gm, '');
      return isFunctionBody(text) ? text : undefined;
    }
    default:
      return undefined;
  }
}

/** An ES module is none. */
function isFunctionBody(text) {
  try {
    compileFunction(text);
    return true;
  } catch {
    return false;
  }
}

/** What is not there, such as a package that another can do without, is told when it is asked for. */
function resolveFrom(path, request) {
  try {
    return createRequire(path).resolve(request);
  } catch {
    return '';
  }
}

/** What is put around the files: gives what loads one of them by its number. */
const LOADER = `
const { createRequire, isBuiltin } = require('node:module');
const { dirname, join } = require('node:path');
const root = join(__dirname, ${JSON.stringify('../..')});
const loaded = [];
return load;

function load(number) {
  if (loaded[number]) return loaded[number].exports;
  const [path, requests, run] = files[number];
  const filename = join(root, path);
  const module = { id: filename, filename, exports: {} };
  loaded[number] = module;
  const requireHere = (request) =>
    request in requests ? load(requests[request])
      : isBuiltin(request) ? require(request)
      : createRequire(filename)(request);
  requireHere.resolve = (request) => createRequire(filename).resolve(request);
  try {
    run.call(module.exports, module.exports, requireHere, module, filename, dirname(filename));
  } catch (error) {
    delete loaded[number];
    throw error;
  }
  return module.exports;
}
`;

/** V8 takes what was kept only from its own version, with its own options; else it compiles the file. */
const STARTER = `'use strict';
const { readFileSync } = require('node:fs');
const { Script } = require('node:vm');
const filename = __dirname + '/packages.js';
const script = new Script(readFileSync(filename, 'utf8'), { filename, cachedData: kept() });
exports.load = script.runInThisContext()(require, __dirname);
exports.isAsKept = script.cachedDataRejected === false;
exports.keep = () => script.createCachedData();

function kept() {
  try {
    return readFileSync(__dirname + '/packages.v8');
  } catch {
    return undefined;
  }
}
`;

/** As Node sees it: the names it finds, and for CommonJS all of it as the default. */
async function asModule(name, number) {
  const names = Object.keys(await import(name)).filter((each) => /^\w+$/.test(each));
  const parts = names.map((each) => (each === 'default' ? 'exports' : `exports.${each}`));
  return [
    "import { createRequire } from 'node:module';",
    `const { load } = createRequire(import.meta.url)('${'../'.repeat(name.split('/').length)}packages.cjs');`,
    `const exports = load(${number});`,
    ...parts.map((part, i) => `const $${i} = ${part};`),
    `export { ${names.map((each, i) => `$${i} as ${each}`).join(', ')} };`,
  ].join('\n');
}

const place = join(root, process.argv[2] ?? 'build', 'node_modules');
// All of it or nothing: a folder with half of the files would keep a service from starting.
const target = `${place}.new`;
rmSync(target, { recursive: true, force: true });
const requireHere = createRequire(import.meta.url);
const taken = PACKAGES.map((name) => take(requireHere.resolve(name)));
for (const [i, name] of PACKAGES.entries()) {
  mkdirSync(join(target, name), { recursive: true });
  writeFileSync(join(target, name, 'package.json'), '{ "type": "module", "exports": "./index.mjs" }\n');
  writeFileSync(join(target, name, 'index.mjs'), await asModule(name, taken[i]));
}
const functions = files.map(
  ({ path, requests, text }) =>
    `[${JSON.stringify(path)}, ${JSON.stringify(requests)}, function (exports, require, module, __filename, __dirname) { ${text}\n}]`,
);
// No 'use strict' around them: each says it for itself.
writeFileSync(
  join(target, 'packages.js'),
  `(function (require, __dirname) {\nconst files = [\n${functions.join(',\n')}\n];\n${LOADER}})`,
);
writeFileSync(join(target, 'packages.cjs'), STARTER);
// What runs while they are loaded is compiled by then, and only that is worth keeping.
const packed = requireHere(join(target, 'packages.cjs'));
for (const number of taken) packed.load(number);
writeFileSync(join(target, 'packages.v8'), packed.keep());
rmSync(place, { recursive: true, force: true });
renameSync(target, place);
