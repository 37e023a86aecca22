// A directory of a test's own. Unlike `t.testdir()`, which goes before what was started in it has ended, this one goes
// after all that was registered with `t.teardown` later.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { until } from './world.js';

export function emptyDirectory(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'codegen-worker-test-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** No workspace is mounted below it any more: their images outlive a service that was killed by a moment. */
export const unmountedBelow = (path: string) =>
  until(async () => {
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
    const points = mounts.map((line) => line.split(' ')[4] ?? '');
    return !points.some((point) => point.startsWith(`${path}/`) && point.endsWith('/workspace'));
  });
