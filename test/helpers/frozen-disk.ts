// A disk that stops answering: what waits for it cannot be killed by anybody.
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmdirSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';

const run = (command: string, ...args: string[]) => execFileSync(command, args, { stdio: 'pipe' });

/** Mounts an ext4 file system that is kept in a file beside it. */
function mountDisk(at: string): void {
  run('truncate', '-s', '32M', `${at}.img`);
  run('mkfs.ext4', '-q', `${at}.img`);
  run('mount', '-o', 'loop', `${at}.img`, at);
  rmdirSync(join(at, 'lost+found'));
}

/** Why this machine has no disk that can be frozen; false when it has. */
export function noDisk(): string | false {
  const dir = mkdtempSync(join(tmpdir(), 'codegen-worker-test-'));
  const at = join(dir, 'disk');
  try {
    mkdirSync(at);
    mountDisk(at);
    run('fsfreeze', '-f', at);
    run('fsfreeze', '-u', at);
    run('umount', at);
    return false;
  } catch (error) {
    return `needs a loop file system that can be frozen: ${String(error).slice(0, 200)}`;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** A directory for a service whose workspaces are on a disk that can be frozen. */
export function dataOnFreezingDisk(t: Test): { dataDir: string; freeze(is: boolean): void } {
  const dataDir = mkdtempSync(join(tmpdir(), 'codegen-worker-test-'));
  t.teardown(() => rmSync(dataDir, { recursive: true, force: true }));
  // Strangers can pass, so that the sandboxes go straight to what is mounted there.
  chmodSync(dataDir, 0o711);
  const workspaces = join(dataDir, 'sandboxes', 'workspaces');
  mkdirSync(workspaces, { recursive: true, mode: 0o711 });
  mountDisk(workspaces);
  t.teardown(() => run('umount', workspaces));
  let isFrozen = false;
  const freeze = (is: boolean) => {
    if (is !== isFrozen) run('fsfreeze', is ? '-f' : '-u', workspaces);
    isFrozen = is;
  };
  t.teardown(() => freeze(false));
  return { dataDir, freeze };
}

/** Whether it waits in the kernel, uninterruptibly. */
export async function isStuck(pid: number): Promise<boolean> {
  return /^State:\tD/m.test(await readFile(`/proc/${pid}/status`, 'utf8').catch(() => ''));
}
