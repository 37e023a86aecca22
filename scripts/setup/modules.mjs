// node_modules must be what package-lock.json says. npm keeps what it installed in a lockfile of its own inside.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, run, SetupError, say } from './say.mjs';

/** Whether every locked package that belongs on this machine is installed, in its version, and no other is. */
export function modulesMatch(folder = root) {
  const installed = readPackages(join(folder, 'node_modules/.package-lock.json'));
  const locked = readPackages(join(folder, 'package-lock.json'));
  if (!installed || !locked) return false;
  for (const [path, wanted] of Object.entries(locked)) {
    if (path === '') continue;
    const found = installed[path];
    if (found ? found.integrity !== wanted.integrity : !mayBeAbsent(wanted)) return false;
  }
  return Object.keys(installed).every((path) => path in locked);
}

export function installModules() {
  say('npm ci');
  const args = ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'];
  // Under `npm start` this is the npm that is running; it may not be the first on the path.
  const npm = process.env.npm_execpath;
  const ok = npm?.endsWith('.js') ? run(process.execPath, [npm, ...args]) : run('npm', args);
  if (!ok) throw new SetupError('npm ci failed; its words are above.');
}

function readPackages(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages;
  } catch {
    return undefined;
  }
}

/** Binaries for other machines are optional packages that name theirs. */
function mayBeAbsent({ optional, os, cpu, libc }) {
  if (!optional) return false;
  return libc !== undefined || !suits(os, process.platform) || !suits(cpu, process.arch);
}

function suits(list, mine) {
  if (!list) return true;
  return list.includes(mine) || (list.every((name) => name.startsWith('!')) && !list.includes(`!${mine}`));
}
