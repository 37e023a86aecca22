// What the tests of the contract need of a service: HTTP, SSE and WebSocket, nothing of ours. It is the one at
// CODEGEN_CONTRACT_URL (with the key CODEGEN_CONTRACT_KEY), or a process of our own.

import type { Test } from 'tap';
import { emptyDirectory } from './directory.js';
import { openSocket, openSse } from './event-client.js';
import { type ServiceProcess, startProcess } from './service-process.js';

export interface Ending {
  readonly cause: string;
  readonly message: string;
  readonly exitCode?: number;
  readonly signal?: string;
  readonly code?: string;
  readonly reason?: string;
  readonly processesKilled?: number;
  readonly killMs?: number;
}

export interface ContractTask {
  readonly taskId: string;
  readonly sessionId: string;
  readonly status: string;
  readonly ending: Ending;
  readonly outputs?: Record<string, unknown>;
  readonly usage: { readonly outputBytes: number };
  readonly startedAt: string | null;
  readonly endedAt: string | null;
  readonly firstSeq: number;
  readonly lastSeq: number;
}

export interface ContractEvent {
  readonly seq: number;
  readonly type: string;
  readonly taskId?: string;
  // biome-ignore lint/suspicious/noExplicitAny: the shape depends on the type, and is what is tested
  readonly data: any;
}

export interface Contract {
  /** Null when the service is somebody else's: then nothing may be done to its processes. */
  readonly process: ServiceProcess | null;
  call<T>(method: string, path: string, body?: unknown): Promise<{ status: number; body: T }>;
  session(body?: Record<string, unknown>): Promise<string>;
  submit(sessionId: string, tool: string, args: object, more?: object): Promise<string>;
  /** Reads the task's events on SSE and WebSocket from now on. */
  watch(t: Test, taskId: string): Watched;
  /** The end of our process and a new one on the same data. */
  restart(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>;
}

export interface Watched {
  /** The texts of all events that came, when the service had closed the stream as complete. */
  readonly sse: Promise<string[]>;
  readonly socket: Promise<string[]>;
}

export async function openContract(t: Test): Promise<Contract> {
  const given = process.env.CODEGEN_CONTRACT_URL;
  const key = process.env.CODEGEN_CONTRACT_KEY;
  const headers: Record<string, string> = key ? { authorization: `Bearer ${key}` } : {};
  const dataDir = emptyDirectory(t);
  const start = async () => {
    const own = startProcess(t, dataDir);
    return { own, url: (await own.line('listening')).address! };
  };
  let { own, url } = given ? { own: null, url: given.replace(/\/$/, '') } : await start();

  const call: Contract['call'] = async (method, path, body) => {
    const reply = await fetch(url + path, {
      method,
      headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await reply.text();
    const isJson = reply.headers.get('content-type')?.includes('json');
    return { status: reply.status, body: isJson ? JSON.parse(text) : text };
  };
  const must = async <T>(method: string, path: string, body?: unknown): Promise<T> => {
    const reply = await call<T>(method, path, body);
    if (reply.status >= 300)
      throw new Error(`${method} ${path}: ${reply.status} ${JSON.stringify(reply.body)}`);
    return reply.body;
  };
  return {
    get process() {
      return own;
    },
    call,
    async session(body = {}) {
      const { sessionId } = await must<{ sessionId: string }>('POST', '/v1/sessions', body);
      t.teardown(() => call('DELETE', `/v1/sessions/${sessionId}?force=true`).catch(() => {}));
      return sessionId;
    },
    async submit(sessionId, tool, args, more = {}) {
      const body = { tool, arguments: args, ...more };
      return (await must<{ taskId: string }>('POST', `/v1/sessions/${sessionId}/tasks`, body)).taskId;
    },
    watch(t, taskId) {
      const path = `/v1/tasks/${taskId}/events`;
      const sse = openSse(t, url + path, headers);
      const socket = openSocket(t, url.replace(/^http/, 'ws') + path, headers);
      return {
        sse: sse.ended.then((isComplete) => {
          if (!isComplete) throw new Error('the stream was cut');
          return sse.events();
        }),
        socket: socket.closed.then((code) => {
          if (code !== 1000) throw new Error(`the socket was closed with ${code}`);
          return socket.events();
        }),
      };
    },
    async restart(signal) {
      own!.child.kill(signal);
      await own!.exited;
      ({ own, url } = await start());
    },
  };
}

/** The task as soon as it has ended. */
export async function endOf(contract: Contract, taskId: string): Promise<ContractTask> {
  for (;;) {
    const { body } = await contract.call<ContractTask>('GET', `/v1/tasks/${taskId}?wait=30`);
    if (body.endedAt !== null) return body;
  }
}

/** All events of a session or a task, by pages. */
export async function pagesOf(contract: Contract, path: string): Promise<ContractEvent[]> {
  const all: ContractEvent[] = [];
  for (;;) {
    const { body } = await contract.call<{ events: ContractEvent[]; nextAfter: number }>(
      'GET',
      `${path}/events?after=${all.at(-1)?.seq ?? 0}&limit=1000`,
    );
    if (body.events.length === 0) return all;
    all.push(...body.events);
  }
}
