// Compiles src, test and bench, puts what is not TypeScript (the Python of the sandbox) beside it, and packs the
// packages that are loaded at the start into one file.
// `node scripts/build.mjs [out]`; does nothing when no source changed since the last build that succeeded.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const FOLDERS = ['src', 'test', 'bench'];
const CONFIGS = ['tsconfig.json', 'package-lock.json', 'scripts/build.mjs', 'scripts/pack-packages.mjs'];

export function isBuilt(out = 'build') {
  return readIfThere(join(root, out, '.stamp')) === stampOf(sources());
}

/** Returns the exit code of the compiler. What can be emitted is emitted, also with errors. */
export function build(out = 'build') {
  const files = sources();
  const stamp = stampOf(files);
  const target = join(root, out);
  rmSync(join(target, '.stamp'), { force: true });
  const compiler = join(root, 'node_modules/typescript/bin/tsc');
  const args = ['-p', '.', '--outDir', out, '--tsBuildInfoFile', join(out, '.tsbuildinfo')];
  const { status } = spawnSync(process.execPath, [compiler, ...args], { cwd: root, stdio: 'inherit' });
  for (const file of files.filter((name) => !name.endsWith('.ts'))) copyIfChanged(file, target);
  removeOrphans(target, new Set(sources().flatMap(outputsOf)));
  const failed = status === 0 ? packPackages(out) : status;
  if (failed === 0) writeFileSync(join(target, '.stamp'), stamp);
  return failed ?? 1;
}

function packPackages(out) {
  return spawnSync(process.execPath, ['scripts/pack-packages.mjs', out], { cwd: root, stdio: 'inherit' })
    .status;
}

function sources() {
  return FOLDERS.flatMap((folder) => filesBelow(root, folder)).filter(
    (file) => !file.includes('__pycache__'),
  );
}

/** Of the contents, since a checkout or a copy changes the times; and of Node, whose V8 made a part of what is built. */
function stampOf(files) {
  const hash = createHash('sha256').update(`${process.version}\0`);
  for (const file of [...files, ...CONFIGS]) {
    const contents = readFileSync(join(root, file));
    hash.update(`${file}\0${contents.length}\0`).update(contents);
  }
  return hash.digest('hex');
}

function outputsOf(file) {
  if (!file.endsWith('.ts')) return [file];
  const compiled = file.replace(/ts$/, 'js');
  return [compiled, `${compiled}.map`];
}

/** Outputs of a source that is gone would still be run, and tested. */
function removeOrphans(target, expected) {
  for (const file of FOLDERS.flatMap((folder) => filesBelow(target, folder))) {
    if (!expected.has(file)) rmSync(join(target, file));
  }
}

function copyIfChanged(file, target) {
  const from = join(root, file);
  const to = join(target, file);
  if (readIfThere(to) === readFileSync(from, 'utf8')) return;
  mkdirSync(dirname(to), { recursive: true });
  cpSync(from, to);
}

function filesBelow(base, folder) {
  let entries;
  try {
    entries = readdirSync(join(base, folder), { withFileTypes: true });
  } catch (error) {
    if (error.code === 'ENOENT') return [];
    throw error;
  }
  return entries.flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? filesBelow(base, path) : [path];
  });
}

function readIfThere(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const out = process.argv[2] ?? 'build';
  if (!isBuilt(out)) process.exitCode = build(out);
}
