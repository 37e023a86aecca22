// The product as its users meet it: a process of its own, reached over HTTP and WebSocket.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { WebSocket } from 'ws';
import type { Event } from '../src/events/schema.js';
import type { Task } from '../src/tasks/schema.js';

const MAIN = fileURLToPath(new URL('../src/main.js', import.meta.url));

export class Service {
  readonly #agent = new Agent({ keepAlive: true });

  private constructor(
    readonly port: number,
    private readonly child: ChildProcess,
    private readonly stderr: () => string,
  ) {}

  get pid(): number {
    return this.child.pid!;
  }

  /** Where its inspector listens, when it was started with one. */
  inspector(): string {
    const url = /ws:\/\/\S+/.exec(this.stderr())?.[0];
    if (!url) throw new Error(`the service has no inspector: ${this.stderr()}`);
    return url;
  }

  static async start(
    dataDir: string,
    settings: Record<string, string>,
    nodeOptions: readonly string[] = [],
  ): Promise<Service> {
    const child = spawn(process.execPath, [...nodeOptions, MAIN], {
      env: {
        PATH: process.env.PATH,
        DATA_DIR: dataDir,
        PORT: '0',
        LOG_FORMAT: 'json',
        MAX_SESSIONS: '300',
        SHUTDOWN_GRACE_SECONDS: '0',
        ...settings,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    child.stderr.on('data', (chunk) => {
      said += chunk;
    });
    for await (const line of createInterface({ input: child.stdout })) {
      const { msg, address } = JSON.parse(line) as { msg: string; address?: string };
      if (msg !== 'listening') continue;
      child.stdout.resume();
      return new Service(Number(new URL(address!).port), child, () => said);
    }
    throw new Error(`the service did not start: ${said}`);
  }

  async stop(): Promise<void> {
    this.#agent.destroy();
    const ended = once(this.child, 'exit');
    this.child.kill('SIGTERM');
    await ended;
  }

  /** Throws unless it went well. */
  call<T = Record<string, unknown>>(method: string, path: string, body?: unknown): Promise<T> {
    return new Promise((resolve, reject) => {
      const payload = body === undefined ? undefined : JSON.stringify(body);
      const asked = request(
        {
          host: '127.0.0.1',
          port: this.port,
          method,
          path,
          agent: this.#agent,
          headers:
            payload === undefined
              ? {}
              : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) },
        },
        async (reply) => {
          const said = await text(reply);
          if (reply.statusCode! >= 300)
            reject(new Error(`${method} ${path}: ${reply.statusCode} ${said.slice(0, 500)}`));
          else resolve((reply.headers['content-type']?.includes('json') ? JSON.parse(said) : said) as T);
        },
      );
      asked.on('error', reject);
      asked.end(payload);
    });
  }

  async session(body: Record<string, unknown> = {}): Promise<string> {
    return (await this.call<{ sessionId: string }>('POST', '/v1/sessions', body)).sessionId;
  }

  /** Submits; with `wait` answers when the task is over, and throws unless it went well. */
  async run(
    sessionId: string,
    tool: string,
    args: Record<string, unknown>,
    more: Record<string, unknown> = {},
  ) {
    const body = { tool, arguments: args, ...more };
    const task = await this.call<Task>('POST', `/v1/sessions/${sessionId}/tasks?wait=60`, body);
    if (task.status !== 'success') throw new Error(`${tool}: ${JSON.stringify(task.ending)}`);
    return task;
  }

  async submit(sessionId: string, tool: string, args: Record<string, unknown>, more = {}): Promise<string> {
    const body = { tool, arguments: args, ...more };
    return (await this.call<Task>('POST', `/v1/sessions/${sessionId}/tasks`, body)).taskId;
  }

  async ended(taskId: string): Promise<Task> {
    for (;;) {
      const task = await this.call<Task>('GET', `/v1/tasks/${taskId}?wait=60`);
      if (task.endedAt !== null) return task;
    }
  }

  /** A reader of a session's events from now on. */
  async reader(sessionId: string, onEvent: (event: Event, bytes: number) => void): Promise<WebSocket> {
    const { lastSeq } = await this.call<{ lastSeq: number }>('GET', `/v1/sessions/${sessionId}`);
    const socket = new WebSocket(
      `ws://127.0.0.1:${this.port}/v1/sessions/${sessionId}/events?after=${lastSeq}`,
    );
    const isThere = new Promise<void>((resolve, reject) => {
      socket.on('error', reject);
      socket.on('message', (data: Buffer) => {
        const event = JSON.parse(data.toString()) as Event | { type: 'stream.head' };
        if (event.type === 'stream.head') resolve();
        else onEvent(event, data.length);
      });
    });
    await isThere;
    return socket;
  }

  /** MiB. */
  residentMemory(): number {
    return statusOf(this.child.pid!, 'VmRSS') / 1024;
  }

  /**
   * How late its main thread was, p99 since this was last asked, ms. What the service tells is the time between two turns
   * of the loop that are due every 10 ms (prom-client's default, of Node's `monitorEventLoopDelay`): 10 where nothing is
   * late. The first answer is empty, it begins to count then.
   */
  async loopDelay(): Promise<number> {
    const metrics = await this.call<string>('GET', '/metrics');
    const between = Number(/^nodejs_eventloop_lag_p99_seconds (\S+)/m.exec(metrics)?.[1]);
    return Math.max(0, 1000 * between - 10);
  }

  /** Host pids of everything that it has started and that lives. */
  descendants(): number[] {
    const parents = new Map<number, number>();
    for (const name of readdirSync('/proc').filter((each) => /^\d+$/.test(each))) {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
        parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 4).split(' ')[0]));
      } catch {
        // It has ended meanwhile.
      }
    }
    const found = new Set([this.child.pid!]);
    for (let grown = 0; grown !== found.size; ) {
      grown = found.size;
      for (const [pid, parent] of parents) if (found.has(parent)) found.add(pid);
    }
    found.delete(this.child.pid!);
    return [...found];
  }

  /** Those of sandboxes: all but the helper that mounts disks, which is there as long as the service. */
  sandboxed(): number[] {
    return this.descendants().filter((pid) => nameOf(pid) !== 'host-disk');
  }
}

function nameOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return '';
  }
}

function statusOf(pid: number, name: string): number {
  return Number(
    new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1],
  );
}

/** The most of it while the work lasts, MiB above what it was before. */
export async function memoryGrowth(service: Service, work: () => Promise<unknown>): Promise<number> {
  const before = service.residentMemory();
  let most = before;
  const look = setInterval(() => {
    most = Math.max(most, service.residentMemory());
  }, 20);
  await work().finally(() => clearInterval(look));
  return most - before;
}
