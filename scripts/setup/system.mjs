// What Debian has to give: the sandbox, the Python that runs in it, and the pip that installs for it.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readdirSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { run, say } from './say.mjs';

const PACKAGES = [
  { name: 'bubblewrap', isThere: () => findProgram('bwrap') !== undefined },
  { name: 'python3', isThere: () => existsSync('/usr/bin/python3') },
  { name: 'python3-pip-whl', isThere: () => hasFile('/usr/share/python-wheels', /^pip-.*\.whl$/) },
  { name: 'ca-certificates', isThere: () => existsSync('/etc/ssl/certs/ca-certificates.crt') },
];
const OLDEST_BUBBLEWRAP = [0, 8];

/** Names of the Debian packages that are not there. */
export function missingSystemPackages(packages = PACKAGES) {
  return packages.filter(({ isThere }) => !isThere()).map(({ name }) => name);
}

/** Installs them when it may. Returns what is wrong and how to mend it, or undefined when all is well. */
export function installSystemPackages(missing) {
  const command = ['apt-get', 'install', '-y', '--no-install-recommends', ...missing];
  const byHand = `${missing.join(', ')} missing. Run: sudo apt-get update && sudo ${command.join(' ')}`;
  if (!findProgram('apt-get')) {
    return `${missing.join(', ')} missing, and there is no apt-get here: install their like with your package manager.`;
  }
  const asRoot = becomeRoot();
  if (!asRoot) return byHand;
  say([...asRoot, ...command].join(' '));
  const quietly = { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } };
  const [program, ...args] = [...asRoot, ...command];
  // Lists may be absent, as in a fresh container, or so old that what they name is gone.
  const [updater, ...updaterArgs] = [...asRoot, 'apt-get', 'update'];
  run(updater, updaterArgs, quietly);
  return run(program, args, quietly) ? undefined : byHand;
}

/** What is wrong with the bubblewrap that is there, or undefined. */
export function bubblewrapTooOld(versionLine = readBubblewrapVersion()) {
  const found = /(\d+)\.(\d+)/.exec(versionLine ?? '');
  if (!found) return undefined;
  const [major, minor] = [Number(found[1]), Number(found[2])];
  if (major > OLDEST_BUBBLEWRAP[0] || (major === OLDEST_BUBBLEWRAP[0] && minor >= OLDEST_BUBBLEWRAP[1])) {
    return undefined;
  }
  return `bubblewrap ${OLDEST_BUBBLEWRAP.join('.')} or newer is needed; this is ${found[0]}. Debian 12 and Ubuntu 24.04 have it.`;
}

function readBubblewrapVersion() {
  return spawnSync('bwrap', ['--version'], { encoding: 'utf8' }).stdout;
}

/** The words to put before a command so that root runs it; undefined when nobody lets us. */
function becomeRoot() {
  if (process.getuid() === 0) return [];
  const allowed = spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0;
  return allowed ? ['sudo', '-n', 'DEBIAN_FRONTEND=noninteractive'] : undefined;
}

function findProgram(name) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/bin'];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function hasFile(folder, pattern) {
  return existsSync(folder) && readdirSync(folder).some((name) => pattern.test(name));
}
