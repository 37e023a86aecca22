// A real service in a directory of its own on a port of its own, taken down with the test: nothing of it stays.
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import type { Test } from 'tap';
import { buildApp } from '../../src/app.js';
import { loadConfig } from '../../src/config.js';
import type { Event } from '../../src/events/schema.js';
import type { Session } from '../../src/sessions/schema.js';
import type { Task } from '../../src/tasks/schema.js';
import { checkReply } from './check-sent.js';

export interface Reply<T = Record<string, unknown>> {
  readonly status: number;
  readonly headers: Headers;
  readonly body: T;
}

/** A client of one service, wherever it runs. */
export interface Client {
  readonly url: string;
  call<T = Record<string, unknown>>(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<Reply<T>>;
  /** A new session; fails the test when it is refused. */
  session(body?: Record<string, unknown>): Promise<Session>;
  /** Submits and waits for the end. */
  run(
    sessionId: string,
    tool: string,
    args: Record<string, unknown>,
    more?: Record<string, unknown>,
  ): Promise<Task>;
  /** Submits and does not wait. */
  submit(
    sessionId: string,
    tool: string,
    args: Record<string, unknown>,
    more?: Record<string, unknown>,
  ): Promise<Task>;
  /** Submits and waits until it runs. */
  start(
    sessionId: string,
    tool: string,
    args: Record<string, unknown>,
    more?: Record<string, unknown>,
  ): Promise<Task>;
  python(sessionId: string, code: string, more?: Record<string, unknown>): Promise<Task>;
  writeFile(sessionId: string, path: string, contents: string): Promise<Task>;
  readFile(sessionId: string, path: string): Promise<string>;
}

export interface World extends Client {
  readonly dataDir: string;
  /** Stops this service, does what is to be done meanwhile, and starts another on the same data. */
  restart(meanwhile?: () => Promise<void>): Promise<void>;
}

const SETTINGS = {
  PORT: '0',
  SHUTDOWN_GRACE_SECONDS: '0',
  // Most tests make one session; the service as a process (`service-process.ts`) keeps some ready, as it is delivered.
  SPARE_SANDBOXES: '0',
};

/** Starts a service; `settings` are environment variables on top of the defaults. */
export async function startService(t: Test, settings: Record<string, string> = {}): Promise<World> {
  const dataDir = await mkdtemp(join(tmpdir(), 'codegen-worker-test-'));
  const log = pino({ level: process.env.TEST_LOG_LEVEL ?? 'silent' });
  const start = async () => {
    const config = loadConfig({ ...SETTINGS, DATA_DIR: dataDir, ...settings });
    const app = await buildApp(config, { log, checkReplies: true });
    await app.start();
    return { app, url: await app.listen() };
  };
  let running = await start();
  t.teardown(async () => {
    await running.app.close();
    await rm(dataDir, { recursive: true, force: true });
  });

  return {
    ...clientOf(() => running.url),
    get url() {
      return running.url;
    },
    dataDir,
    restart: async (meanwhile) => {
      await running.app.close();
      await meanwhile?.();
      running = await start();
    },
  };
}

/** `url` is asked for each call, since a service that starts again has another port. */
export function clientOf(url: () => string): Client {
  const call: Client['call'] = async (method, path, body, headers = {}) => {
    const response = await fetch(url() + path, {
      method,
      headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.includes('json') ?? false;
    const shown = isJson ? JSON.parse(text) : text;
    checkReply(shown);
    return { status: response.status, headers: response.headers, body: shown };
  };
  const must = async <T>(method: string, path: string, body?: unknown): Promise<T> => {
    const reply = await call<T>(method, path, body);
    if (reply.status >= 300)
      throw new Error(`${method} ${path}: ${reply.status} ${JSON.stringify(reply.body)}`);
    return reply.body;
  };
  const submit: Client['submit'] = (sessionId, tool, args, more = {}) =>
    must('POST', `/v1/sessions/${sessionId}/tasks`, { tool, arguments: args, ...more });
  const start: Client['start'] = async (sessionId, tool, args, more) => {
    let task = await submit(sessionId, tool, args, more);
    while (task.status === 'queued') task = await must<Task>('GET', `/v1/tasks/${task.taskId}`);
    return task;
  };
  const run: Client['run'] = async (sessionId, tool, args, more = {}) => {
    let task = await must<Task>('POST', `/v1/sessions/${sessionId}/tasks?wait=60`, {
      tool,
      arguments: args,
      ...more,
    });
    while (task.endedAt === null) task = await must<Task>('GET', `/v1/tasks/${task.taskId}?wait=60`);
    return task;
  };
  return {
    get url() {
      return url();
    },
    call,
    submit,
    start,
    run,
    session: (body = {}) => must('POST', '/v1/sessions', body),
    python: (sessionId, code, more) => run(sessionId, 'run.python', { code }, more),
    writeFile: (sessionId, path, contents) => run(sessionId, 'fs.write', { path, contents }),
    readFile: async (sessionId, path) =>
      String((await run(sessionId, 'fs.read', { path })).outputs?.contents),
  };
}

/** Everything the journal of a session holds. */
export async function eventsOf(world: World, sessionId: string): Promise<Event[]> {
  const all: Event[] = [];
  for (;;) {
    const after = all.at(-1)?.seq ?? 0;
    const { body } = await world.call<{ events: Event[] }>(
      'GET',
      `/v1/sessions/${sessionId}/events?after=${after}&limit=1000`,
    );
    if (body.events.length === 0) return all;
    all.push(...body.events);
  }
}

/** Asks until the answer is something; tap's own time-out ends a wait that is in vain. */
export async function until<T>(ask: () => Promise<T | undefined | null | false | ''>): Promise<T> {
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Host pids of living processes that gave themselves this name (at most 15 characters). */
export async function processesNamed(name: string): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry));
  const found = await Promise.all(
    pids.map(async (pid) => {
      const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
      return status.startsWith(`Name:\t${name}\n`) && !/^State:\tZ/m.test(status) ? [pid] : [];
    }),
  );
  return found.flat();
}

/** Whole lines that are stored of what tasks printed. A line may come in several events: Python is not buffered, and prints
 *  a text and the end of its line one after the other. */
export const linesIn = (
  events: readonly { type: string; taskId?: string; data: object }[],
  taskId?: string,
) =>
  events
    .flatMap((event) =>
      event.type === 'task.output' && (taskId ?? event.taskId) === event.taskId ? [event] : [],
    )
    .reduce(
      (lines, { data }) => lines + (String((data as { text?: string }).text).match(/\n/g)?.length ?? 0),
      0,
    );
