// Many tasks of every kind over many sessions, with readers that come and go: what the service holds stays what it was.
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { Task } from '../../src/tasks/schema.js';
import { Follower, TRANSPORTS } from './follower.js';
import { brokenRules } from './journal-rules.js';
import { runsNothingMore } from './processes.js';
import { startProcess } from './service-process.js';
import { until } from './world.js';

export interface SoakOptions {
  readonly tasks: number;
  readonly tasksPerSession: number;
  /** Sessions that live at once. */
  readonly atOnce: number;
}

/** What the service holds at one moment, all sessions being over. */
export interface Held {
  readonly tasks: number;
  readonly rssMiB: number;
  readonly files: number;
  readonly threads: number;
  readonly storeMiB: number;
}

const KINDS = [
  { tool: 'echo', arguments: { message: 'soaked' } },
  { tool: 'run.python', arguments: { code: 'print("x" * 2000)' } },
  { tool: 'echo', arguments: { message: 'grüße €😀' } },
  { tool: 'fs.write', arguments: { path: 'a/file', contents: 'contents' } },
  { tool: 'run.command', arguments: { command: 'echo out; echo err >&2; exit 3' } },
  { tool: 'fs.read', arguments: { path: 'a/file', encoding: 'utf8' } },
  { tool: 'echo', arguments: { message: 'again' }, background: true },
  {
    tool: 'run.python',
    arguments: { code: 'while True: print(1)' },
    constraints: { maxOutputBytes: 50_000, killGraceMs: 0 },
  },
  {
    tool: 'run.command',
    arguments: { command: 'sleep 60' },
    constraints: { timeoutSeconds: 0.05, killGraceMs: 0 },
  },
  { tool: 'fs.list', arguments: { path: '.' } },
] as const;

/** Runs them in ten rounds and tells what is held after each. */
export async function soak(t: Test, dataDir: string, options: SoakOptions): Promise<Held[]> {
  const { tasks, tasksPerSession, atOnce } = options;
  const service = startProcess(t, dataDir, {
    MAX_SESSIONS: String(atOnce),
    RETENTION_SECONDS: '1',
    // What runs at the end is counted.
    SPARE_SANDBOXES: '0',
  });
  const url = (await service.line('listening')).address!;
  const call = async <T>(method: string, path: string, body?: object): Promise<T> => {
    const headers = { 'content-type': 'application/json' };
    const reply = await fetch(url + path, { method, ...(body && { headers, body: JSON.stringify(body) }) });
    if (!reply.ok) throw new Error(`${method} ${path}: ${reply.status} ${await reply.text()}`);
    return (await reply.json()) as T;
  };
  let number = 0;
  const oneSession = async () => {
    number += 1;
    const sessionId = `soaked-${number}`;
    const transport = TRANSPORTS[number % TRANSPORTS.length]!;
    await call('POST', '/v1/sessions', { sessionId, concurrency: 1 + (number % 2) });
    let events = 0;
    const isTired = () => ++events % 23 === 0;
    const reader = new Follower({ transport, sessionId, url: () => url, isTired });
    for (let done = 0; done < tasksPerSession; done += 1) {
      const body = KINDS[(number + done) % KINDS.length]!;
      const path = `/v1/sessions/${sessionId}/tasks`;
      const task = await call<Task>('POST', done % 3 === 0 ? `${path}?wait=30` : path, body);
      if (done % 17 === 16) await call('POST', `/v1/tasks/${task.taskId}/cancel`, {});
      if (done % 40 === 39) await call('GET', `/v1/tasks/${task.taskId}?wait=60`);
    }
    await call('DELETE', `/v1/sessions/${sessionId}?force=true`);
    await reader.finished;
    const broken = brokenRules(reader.lines.map((line) => JSON.parse(line)));
    if (broken.length > 0) t.fail(`${sessionId} over ${transport}: ${broken[0]}`);
  };

  const held: Held[] = [];
  const sessions = Math.ceil(tasks / tasksPerSession);
  const startedAt = performance.now();
  for (let round = 1; round <= 10; round += 1) {
    const upTo = Math.round((sessions * round) / 10);
    const worker = async () => {
      while (number < upTo) await oneSession();
    };
    await Promise.all(Array.from({ length: atOnce }, worker));
    held.push(await whatIsHeld(service.child.pid!, dataDir, number * tasksPerSession));
    t.comment(
      JSON.stringify({ seconds: Math.round((performance.now() - startedAt) / 1000), ...held.at(-1) }),
    );
  }
  service.child.kill('SIGTERM');
  t.equal(await service.exited, 0);
  return held;
}

/** No process may be left. The copy of pip, made in the background, can take longer than the first sessions. */
async function whatIsHeld(pid: number, dataDir: string, tasks: number): Promise<Held> {
  await until(async () => runsNothingMore(pid));
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)![1]);
  const sizes = await Promise.all(
    ['store.db', 'store.db-wal'].map((name) =>
      stat(join(dataDir, name)).then(
        (file) => file.size,
        () => 0,
      ),
    ),
  );
  return {
    tasks,
    rssMiB: Math.round(field('VmRSS') / 1024),
    files: (await readdir(`/proc/${pid}/fd`)).length,
    threads: field('Threads'),
    storeMiB: Math.round(sizes.reduce((sum, size) => sum + size, 0) / 1024 / 1024),
  };
}
