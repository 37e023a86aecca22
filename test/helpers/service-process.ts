// The service as a process of its own, for what only a process can do: refuse to start, take signals, be killed.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Test } from 'tap';
import { unmountedBelow } from './directory.js';
import { THIS_HOST } from './hosts.js';

export interface ServiceProcess {
  readonly child: ChildProcess;
  readonly exited: Promise<number | null>;
  stderr(): string;
  /** Its log. */
  stdout(): string;
  /** The first log line with this message. */
  line(message: string): Promise<Record<string, string>>;
}

/** Of a service that is told to stop, all its sandboxes included. */
const ENDED_WITHIN_MS = 30_000;

/** Of its log the end is kept, so that a run of hours fits into memory. */
const LOG_KEPT = 1024 * 1024;

/** Starts it with these settings and nothing else of our environment; ended with the test. */
export function startProcess(
  t: Test,
  dataDir: string,
  settings: Record<string, string> = {},
  host = THIS_HOST,
): ServiceProcess {
  const [command, ...args] = [...host.prefix, process.execPath, join(host.root, 'build/src/main.js')];
  const child = spawn(command!, args, {
    env: {
      PATH: process.env.PATH,
      DATA_DIR: dataDir,
      PORT: '0',
      LOG_FORMAT: 'json',
      SHUTDOWN_GRACE_SECONDS: '0',
      ...settings,
    },
  });
  let stdout = '';
  let stderr = '';
  const waiting = new Set<() => void>();
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
    if (stdout.length > 4 * LOG_KEPT) stdout = stdout.slice(-LOG_KEPT);
    for (const look of waiting) look();
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  const exited = once(child, 'close').then(([code]) => code as number | null);
  t.teardown(() => {
    // It takes away what it has mounted; killed, it would leave that to its next start.
    child.kill('SIGTERM');
    const hurry = setTimeout(() => child.kill('SIGKILL'), ENDED_WITHIN_MS);
    return exited.then(() => {
      clearTimeout(hurry);
      return unmountedBelow(dataDir);
    });
  });
  const line = (message: string) =>
    new Promise<Record<string, string>>((resolve, reject) => {
      const look = () => {
        for (const text of stdout.split('\n')) {
          if (!text.includes(`"msg":"${message}"`)) continue;
          waiting.delete(look);
          resolve(JSON.parse(text));
          return;
        }
      };
      waiting.add(look);
      look();
      exited.then(() => reject(new Error(`no "${message}" in:\n${stdout}${stderr}`)));
    });
  return { child, exited, stderr: () => stderr, stdout: () => stdout, line };
}
