// `prebench`: what the benchmark measures beside the product. None of it must be there: what cannot be had is left out of
// the table.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { modulesMatch } from './setup/modules.mjs';
import { root, run, say } from './setup/say.mjs';
import { installSystemPackages, missingSystemPackages } from './setup/system.mjs';

const module = (name) => existsSync(join('/usr/lib/python3/dist-packages', name));

const missing = missingSystemPackages([
  { name: 'pigz', isThere: () => existsSync('/usr/bin/pigz') },
  { name: 'python3-ipykernel', isThere: () => module('ipykernel') },
  { name: 'python3-jupyter-client', isThere: () => module('jupyter_client') },
  { name: 'socat', isThere: () => existsSync('/usr/bin/socat') },
  { name: 'ripgrep', isThere: () => existsSync('/usr/bin/rg') },
]);
const problem = missing.length > 0 && installSystemPackages(missing);
if (problem) say(`${problem} Until then their rows are left out.`);
const peers = join(root, 'bench/peers');
if (!modulesMatch(peers)) run('npm', ['ci', '--no-audit', '--no-fund'], { cwd: peers });
