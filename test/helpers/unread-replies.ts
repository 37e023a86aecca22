// Clients that ask and never read, or send and never finish, in numbers: what the service holds of them stays bounded,
// and it answers others meanwhile.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import type { Test } from 'tap';
import type { Task } from '../../src/tasks/schema.js';
import { emptyDirectory } from './directory.js';
import { startProcess } from './service-process.js';

const MIB = 1024 * 1024;
export interface Crowd {
  /** What the resident memory of the service may grow by, MiB: with what it holds counts the garbage that V8 has not
   *  collected yet, which is another amount in each run. */
  readonly growthMib: number;
  /** The same while bodies are received, each piece of which is a buffer of its own until it is collected. Default: as
   *  much. */
  readonly bodyGrowthMib?: number;
  /** Connections that send pipelined requests, and what they send together. */
  readonly pipelining: number;
  readonly pipelinedBytes: number;
  /** Clients that ask for a task with 8 MB of output, and that send 4 MB of a body of 8. */
  readonly readers: number;
  readonly senders: number;
}

/** Starts a service, lets the crowd come, stand still and leave; the largest growth of its memory is asserted, and the
 *  longest wait of a `GET /healthz` meanwhile is commented. */
export async function standStill(t: Test, crowd: Crowd): Promise<void> {
  const service = startProcess(t, emptyDirectory(t), { SPARE_SANDBOXES: '0', MAX_CONNECTIONS: '4000' });
  const { address } = await service.line('listening');
  const { hostname, port } = new URL(address!);
  const sockets: Socket[] = [];
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
  });
  const open = async () => {
    const socket = connect(Number(port), hostname);
    socket.on('error', () => {});
    socket.pause();
    sockets.push(socket);
    await once(socket, 'connect');
    return socket;
  };
  const residentBytes = () =>
    Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${service.child.pid}/status`, 'utf8'))![1]) * 1024;

  // Made with the first request for it.
  await (await fetch(`${address}/openapi.json`)).text();
  await fetch(`${address}/v1/sessions`, {
    ...{ method: 'POST', headers: { 'content-type': 'application/json' } },
    body: JSON.stringify({ sessionId: 'large' }),
  });
  const submitted = await fetch(`${address}/v1/sessions/large/tasks?wait=60`, {
    ...{ method: 'POST', headers: { 'content-type': 'application/json' } },
    body: JSON.stringify({ taskId: 'large', tool: 'echo', arguments: { message: 'x'.repeat(8_000_000) } }),
  });
  t.match((await submitted.json()) as Task, { status: 'success' });

  for (const [name, come] of Object.entries({
    'pipelined requests whose replies are never read': async () => {
      for (const path of ['/openapi.json', '/v1/sessions', '/nowhere']) {
        const request = `GET ${path} HTTP/1.1\r\nHost: ${hostname}\r\n\r\n`;
        const count = Math.ceil(crowd.pipelinedBytes / 3 / crowd.pipelining / request.length);
        for (let n = 0; n < crowd.pipelining; n += 1) (await open()).write(request.repeat(count));
      }
    },
    'clients that never read a large task': async () => {
      for (let n = 0; n < crowd.readers; n += 1)
        (await open()).write(`GET /v1/tasks/large HTTP/1.1\r\nHost: ${hostname}\r\n\r\n`);
    },
    'clients that never finish a large body': async () => {
      const head = `POST /v1/sessions HTTP/1.1\r\nHost: ${hostname}\r\nContent-Type: application/json\r\nContent-Length: 8000000\r\n\r\n`;
      const begun = Buffer.from(`${head}${' '.repeat(4_000_000)}`);
      for (let n = 0; n < crowd.senders; n += 1) (await open()).write(begun);
    },
  })) {
    const before = residentBytes();
    let grownBytes = 0;
    let longestMs = 0;
    let isOver = false;
    const watching = (async () => {
      while (!isOver) {
        const askedAt = performance.now();
        const health = await fetch(`${address}/healthz`);
        if (health.status !== 200) t.equal(health.status, 200);
        longestMs = Math.max(longestMs, performance.now() - askedAt);
        grownBytes = Math.max(grownBytes, residentBytes() - before);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    })();
    await come();
    await settled(residentBytes);
    isOver = true;
    await watching;
    const isBody = name === 'clients that never finish a large body';
    const mostMib = (isBody && crowd.bodyGrowthMib) || crowd.growthMib;
    t.ok(grownBytes <= mostMib * MIB, `${name}: ${Math.round(grownBytes / MIB)} MiB more`);
    t.comment(`${name}: +${Math.round(grownBytes / MIB)} MiB, /healthz at most ${Math.round(longestMs)} ms`);
    for (const socket of sockets.splice(0)) socket.destroy();
  }
}

/** Resolves when the memory has not grown for ten looks in a row. */
async function settled(residentBytes: () => number): Promise<void> {
  let [highest, looks] = [0, 0];
  while (looks < 10) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    const bytes = residentBytes();
    looks = bytes > highest ? 0 : looks + 1;
    highest = Math.max(highest, bytes);
  }
}
