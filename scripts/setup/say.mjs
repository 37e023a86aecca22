import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The clone. */
export const root = join(dirname(fileURLToPath(import.meta.url)), '../..');

/** The set-up cannot go on; the message says what to do. */
export class SetupError extends Error {}

export function say(line) {
  console.error(`setup: ${line}`);
}

/** Runs to the end and keeps what it prints; shows it only when it failed. */
export function run(command, args, options = {}) {
  const ended = spawnSync(command, args, { cwd: root, encoding: 'utf8', maxBuffer: 64 << 20, ...options });
  const ok = ended.status === 0;
  if (!ok) process.stderr.write(ended.error ? `${ended.error.message}\n` : `${ended.stdout}${ended.stderr}`);
  return ok;
}
