// A program that prints as fast as it can, and what that does to the service: its memory, its answers to others.

import { spawn } from 'node:child_process';
import { createHash, type Hash } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { Test } from 'tap';
import { WebSocket } from 'ws';
import type { Task } from '../../src/tasks/schema.js';
import { emptyDirectory } from './directory.js';
import { startProcess } from './service-process.js';

const MIB = 1024 * 1024;
/** Blocks differ in their number, so that one that is lost, repeated or misplaced shows. */
const BLOCK_BYTES = MIB;
const NUMBER_BYTES = 20;
const LINE = `${'x'.repeat(62)}\n`;
const PRINTER = `import os
rest = (b'x' * 62 + b'\\n') * ${Math.ceil(BLOCK_BYTES / LINE.length)}
n = 0
while True:
  block = b'%019d\\n' % n + rest[:${BLOCK_BYTES - NUMBER_BYTES}]
  while block: block = block[os.write(1, block):]
  n += 1`;

/** What the program prints up to so many bytes, as a digest. */
export function digestOfFlood(bytes: number): string {
  const hash = createHash('sha256');
  const rest = Buffer.alloc(BLOCK_BYTES - NUMBER_BYTES, LINE);
  for (let at = 0; at < bytes; at += BLOCK_BYTES) {
    const number = `${String(at / BLOCK_BYTES).padStart(NUMBER_BYTES - 1, '0')}\n`;
    hash.update(Buffer.concat([Buffer.from(number), rest]).subarray(0, bytes - at));
  }
  return hash.digest('hex');
}

/** One that reads all the time; one that stops when it has the head, and goes on when the task has ended; none. */
export type FloodReader = 'none' | 'reading' | 'stalled';

export interface Flood {
  readonly task: Task;
  readonly seconds: number;
  /** Resident memory of the service before, the most of it meanwhile, and the most in the first half of the time. */
  readonly rssMiB: { readonly before: number; readonly most: number; readonly mostAtFirst: number };
  /** Of /healthz meanwhile, in milliseconds. */
  readonly health: {
    readonly count: number;
    readonly p50: number;
    readonly p99: number;
    readonly max: number;
  };
  /** Digest of the bytes under /output/. */
  readonly stored: string;
  /** Digest of the text that the reader has in the end. */
  readonly read: string | undefined;
}

/** Prints without end into a cap of so many bytes, watched by such a reader. */
export async function flood(t: Test, maxOutputBytes: number, kind: FloodReader): Promise<Flood> {
  const service = startProcess(t, emptyDirectory(t));
  const url = (await service.line('listening')).address!;
  const call = async <T>(method: string, path: string, body?: object): Promise<T> => {
    const headers = { 'content-type': 'application/json' };
    const reply = await fetch(url + path, { method, ...(body && { headers, body: JSON.stringify(body) }) });
    if (!reply.ok) throw new Error(`${method} ${path}: ${reply.status} ${await reply.text()}`);
    return (await reply.json()) as T;
  };
  await call('POST', '/v1/sessions', { sessionId: 'flooded' });
  // What a first task brings about is not what is measured.
  await call('POST', '/v1/sessions/flooded/tasks?wait=60', { tool: 'run.python', arguments: { code: '' } });
  const reader = kind === 'none' ? undefined : openReader(t, url);
  await reader?.atHead;
  if (kind === 'stalled') reader?.socket.pause();

  const health = watchHealth(t, url);
  const memory = watchMemory(service.child.pid!);
  const startedAt = performance.now();
  const { taskId } = await call<Task>('POST', '/v1/sessions/flooded/tasks', {
    tool: 'run.python',
    arguments: { code: PRINTER },
    constraints: { maxOutputBytes, timeoutSeconds: 600, killGraceMs: 0 },
  });
  let task: Task;
  do task = await call<Task>('GET', `/v1/tasks/${taskId}?wait=60`);
  while (task.endedAt === null);
  const seconds = (performance.now() - startedAt) / 1000;
  if (kind === 'stalled') reader?.socket.resume();
  await reader?.ended;
  const result = { task, seconds, rssMiB: await memory.stop(), health: await health.stop() };

  const hash = createHash('sha256');
  const output = await fetch(`${url}/v1/tasks/${taskId}/output/stdout`);
  for await (const chunk of output.body!) hash.update(chunk);
  service.child.kill('SIGTERM');
  t.equal(await service.exited, 0);
  return { ...result, stored: hash.digest('hex'), read: reader?.hash.digest('hex') };
}

interface TextReader {
  readonly socket: WebSocket;
  readonly atHead: Promise<void>;
  readonly ended: Promise<void>;
  readonly hash: Hash;
}

function openReader(t: Test, url: string): TextReader {
  const socket = new WebSocket(`ws${url.slice(4)}/v1/sessions/flooded/events`);
  t.teardown(() => socket.terminate());
  const hash = createHash('sha256');
  const told = (marker: string) =>
    new Promise<void>((resolve, reject) => {
      socket.on('message', (message) => String(message).includes(marker) && resolve());
      socket.on('close', () => reject(new Error('the socket was closed')));
    });
  const atHead = told('{"type":"stream.head"');
  const ended = told('"cause":"outputLimit"');
  ended.catch(() => {});
  socket.on('message', (message) => {
    const text = String(message);
    if (text.includes('"type":"task.output"')) hash.update(JSON.parse(text).data.text);
  });
  return { socket, atHead, ended, hash };
}

/** Asks from a process of its own: ours is busy reading. */
function watchHealth(t: Test, url: string): { stop(): Promise<Flood['health']> } {
  const child = spawn(process.execPath, ['-e', HEALTH_PROBE, `${url}/healthz`]);
  t.teardown(() => child.kill());
  let report = '';
  child.stdout.on('data', (data) => {
    report += data;
  });
  return {
    async stop() {
      child.stdin.end();
      await once(child, 'close');
      const times = (JSON.parse(report) as number[]).sort((a, b) => a - b);
      const at = (part: number) => Math.round(10 * times[Math.floor(part * (times.length - 1))]!) / 10;
      return { count: times.length, p50: at(0.5), p99: at(0.99), max: at(1) };
    },
  };
}

const HEALTH_PROBE = `
const { Agent, get } = require('node:http');
const agent = new Agent({ keepAlive: true });
const times = [];
const ask = () => {
  const at = performance.now();
  get(process.argv[1], { agent }, (response) => response.resume().on('end', () => {
    times.push(performance.now() - at);
    setTimeout(ask, 10);
  }));
};
ask();
process.stdin.resume().on('end', () => {
  process.stdout.write(JSON.stringify(times), () => process.exit());
});`;

function watchMemory(pid: number): { stop(): Promise<Flood['rssMiB']> } {
  const residentMiB = async () => {
    const status = await readFile(`/proc/${pid}/status`, 'utf8');
    return Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(status)![1]) / 1024);
  };
  const before = residentMiB();
  const seen: number[] = [];
  const look = async () => {
    seen.push(await residentMiB());
  };
  const timer = setInterval(look, 50);
  return {
    async stop() {
      clearInterval(timer);
      await look();
      const mostAtFirst = Math.max(...seen.slice(0, Math.ceil(seen.length / 2)));
      return { before: await before, most: Math.max(...seen), mostAtFirst };
    },
  };
}
