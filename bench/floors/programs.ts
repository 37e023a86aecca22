// Starting a program without us: a clean Python, alone and inside bubblewrap.
import { spawn } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const PYTHON = '/usr/bin/python3';

/** A virtual environment made by hand: Debian's own python reads the `.pth` files of whatever is installed. */
export function cleanPython(directory: string): string {
  mkdirSync(join(directory, 'bin'));
  symlinkSync(PYTHON, join(directory, 'bin/python3'));
  writeFileSync(join(directory, 'pyvenv.cfg'), 'home = /usr/bin\ninclude-system-site-packages = false\n');
  return join(directory, 'bin/python3');
}

/** Around it what a sandbox cannot be without, and no more. */
export function inBubblewrap(argv: readonly string[]): string[] {
  return [
    ...['bwrap', '--unshare-all', '--die-with-parent', '--new-session', '--clearenv'],
    ...['--ro-bind', '/usr', '/usr', '--symlink', 'usr/lib', '/lib', '--symlink', 'usr/lib64', '/lib64'],
    ...['--proc', '/proc', '--dev', '/dev', '--tmpfs', '/tmp', '--', ...argv],
  ];
}

/** Resolves when it has ended and its output is closed; rejects unless it went well. */
export function runProgram(argv: readonly string[], options: { cwd?: string } = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(argv[0]!, argv.slice(1), { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
    });
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    child.on('error', reject);
    child.on('close', (code) =>
      code === 0 ? resolve(stdout) : reject(new Error(`${argv.join(' ')}: ${code} ${stderr}`)),
    );
  });
}

export const PRINT = ['-c', 'print(1)'];
