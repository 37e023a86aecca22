// Crowds: many readers of one session, many sessions with a reader each, many clients that submit at once.
import { createHash, type Hash } from 'node:crypto';
import { once } from 'node:events';
import type { Test } from 'tap';
import { WebSocket } from 'ws';
import type { Task } from '../../src/tasks/schema.js';
import { startService, type World } from './world.js';

interface CrowdReader {
  readonly socket: WebSocket;
  readonly hash: Hash;
  /** Also when that was long ago. */
  readonly closed: Promise<unknown>;
  count: number;
}

/** Notes of each event only that it came, so that a crowd fits into our memory. */
async function openReader(t: Test, world: World, path: string): Promise<CrowdReader> {
  const socket = new WebSocket(`ws${world.url.slice(4)}${path}`);
  t.teardown(() => socket.terminate());
  const closed = once(socket, 'close');
  const reader: CrowdReader = { socket, hash: createHash('sha256'), closed, count: 0 };
  const atHead = new Promise<void>((resolve, reject) => {
    socket.on('message', (data) => {
      const message = String(data);
      if (message.startsWith('{"seq":')) {
        reader.count += 1;
        reader.hash.update(message);
      } else resolve();
    });
    socket.on('error', reject);
    socket.on('close', reject);
  });
  await atHead;
  return reader;
}

/** So many readers of one session, one of whom stops reading: each has every event, and nobody waits for that one. */
export async function crowdOnOneSession(t: Test, { readers, lines }: { readers: number; lines: number }) {
  const world = await startService(t, { MAX_SOCKETS: String(readers + 1) });
  const { sessionId } = await world.session();
  const path = `/v1/sessions/${sessionId}/events`;
  const crowd: CrowdReader[] = [];
  for (let opened = 0; opened < readers; opened += 50) {
    const batch = Array.from({ length: Math.min(50, readers - opened) }, () => openReader(t, world, path));
    crowd.push(...(await Promise.all(batch)));
  }
  const [stalled, ...reading] = crowd;
  stalled!.socket.pause();
  const startedAt = performance.now();
  const code = `for n in range(${lines}): print(n, 'x' * 500, flush=True)`;
  const task = await world.python(sessionId, code, { constraints: { timeoutSeconds: 600 } });
  t.match(task, { status: 'success' });
  const deleted = world.call('DELETE', `/v1/sessions/${sessionId}`);
  await Promise.all(reading.map(({ closed }) => closed));
  const seconds = (performance.now() - startedAt) / 1000;
  t.equal((await deleted).status, 200);
  const isBehind = stalled!.count < reading[0]!.count;
  stalled!.socket.resume();
  await stalled!.closed;
  const digests = new Set(crowd.map(({ hash }) => hash.digest('hex')));
  t.equal(digests.size, 1, 'all saw the same, the one that stalled too');
  t.ok(isBehind, 'nobody waited for the one that stalled');
  return { deliveries: crowd.length * reading[0]!.count, seconds };
}

/** So many sessions, each with a reader who sees its own and nothing else. */
export async function readerOnEachSession(t: Test, { sessions }: { sessions: number }): Promise<void> {
  const world = await startService(t, { MAX_SESSIONS: String(sessions) });
  const each = async (index: number) => {
    const { sessionId } = await world.session({ sessionId: `session-${index}` });
    const socket = new WebSocket(`ws${world.url.slice(4)}/v1/sessions/${sessionId}/events`);
    t.teardown(() => socket.terminate());
    const seen: { seq: number; sessionId: string }[] = [];
    socket.on('message', (data) => {
      const event = JSON.parse(String(data));
      if (event.seq && event.sessionId) seen.push(event);
    });
    const closed = once(socket, 'close');
    await once(socket, 'open');
    const texts = Array.from({ length: 5 }, (_, n) => `${sessionId} says ${n}`);
    const tasks = await Promise.all(texts.map((message) => world.run(sessionId, 'echo', { message })));
    await world.call('DELETE', `/v1/sessions/${sessionId}`);
    const [code] = await closed;
    const right =
      code === 1000 &&
      tasks.every(({ outputs }, n) => outputs?.message === texts[n]) &&
      seen.every((event, at) => event.sessionId === sessionId && event.seq === at + 1);
    return { right, sessionId, events: seen.length };
  };
  const results: Awaited<ReturnType<typeof each>>[] = [];
  for (let at = 0; at < sessions; at += 50) {
    const wave = Array.from({ length: Math.min(50, sessions - at) }, (_, index) => each(at + index));
    results.push(...(await Promise.all(wave)));
  }
  t.same(
    results.filter(({ right }) => !right),
    [],
    'each reader saw its own session, whole',
  );
}

/** So many clients at once against a lane that is full: what is accepted ends, the others are told when to come again. */
export async function clientsAtOnce(t: Test, { clients, room }: { clients: number; room: number }) {
  const world = await startService(t, { MAX_QUEUED_TASKS: String(room) });
  const { sessionId } = await world.session();
  const code = 'import sys; print(1, flush=True); sys.stdin.read()';
  const blocker = await world.submit(sessionId, 'run.python', { code, stdinOpen: true });
  while ((await world.call<Task>('GET', `/v1/tasks/${blocker.taskId}`)).body.status !== 'running');
  const path = `/v1/sessions/${sessionId}/tasks`;
  const replies = await Promise.all(
    Array.from({ length: clients }, (_, n) =>
      world.call<Task & { code: string }>('POST', path, {
        taskId: `client-${n}`,
        tool: 'echo',
        arguments: { message: String(n) },
      }),
    ),
  );
  const accepted = replies.filter(({ status }) => status === 202);
  const refused = replies.filter(({ status }) => status !== 202);
  t.equal(accepted.length, room, 'as many as there is room for');
  t.ok(
    refused.every(({ status, headers }) => status === 429 && Number(headers.get('retry-after')) >= 1),
    'the others are told when to come again',
  );
  t.equal((await fetch(`${world.url}/healthz`)).status, 200);
  await world.call('POST', `/v1/tasks/${blocker.taskId}/cancel`, {});
  for (const { body } of accepted) {
    const { body: task } = await world.call<Task>('GET', `/v1/tasks/${body.taskId}?wait=60`);
    if (task.status !== 'success') t.fail(`${task.taskId}: ${task.status}`);
  }
}
