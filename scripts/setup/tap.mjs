// tap is compiled for the plugins that `.taprc` asks for; what npm installs has them all.
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, run, SetupError, say } from './say.mjs';

const stampPath = join(root, 'node_modules/.codegen-worker-tap');
const stamp = () =>
  createHash('sha256')
    .update(readFileSync(join(root, '.taprc')))
    .digest('hex');

export function tapIsBuilt() {
  try {
    return readFileSync(stampPath, 'utf8') === stamp();
  } catch {
    return false;
  }
}

export function buildTap() {
  say('preparing the test runner');
  if (!run(process.execPath, [join(root, 'node_modules/tap/dist/esm/run.mjs'), 'build'])) {
    throw new SetupError('tap build failed; its words are above.');
  }
  writeFileSync(stampPath, stamp());
}
