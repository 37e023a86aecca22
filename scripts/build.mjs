// Compiles TypeScript and puts the Python sources beside it. `npm run build`; quick when nothing changed.
import { spawnSync } from 'node:child_process';
import { cpSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const out = process.argv[2] ?? 'build';
const tsc = spawnSync(
  process.execPath,
  [
    join(root, 'node_modules/typescript/bin/tsc'),
    '-p',
    '.',
    '--outDir',
    out,
    '--tsBuildInfoFile',
    join(out, '.tsbuildinfo'),
  ],
  { cwd: root, stdio: 'inherit' },
);
cpSync(join(root, 'src/sandbox/python'), join(root, out, 'src/sandbox/python'), { recursive: true });
process.exitCode = tsc.status ?? 1;
