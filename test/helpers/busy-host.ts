// Many sessions that all want to begin at once, on a host whose processors are busy with something else.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import type { Test } from 'tap';
import type { Task } from '../../src/tasks/schema.js';
import { eventsOf, startService } from './world.js';

/** A wait of this length at the latest is told by an event. */
const TOLD_MS = 2_500;

/** Keeps every processor busy until the test is over. */
export function keepProcessorsBusy(t: Test): void {
  const busy = Array.from({ length: availableParallelism() }, () =>
    spawn('/bin/sh', ['-c', 'while :; do :; done'], { stdio: 'ignore' }),
  );
  t.teardown(() =>
    Promise.all(
      busy.map((child) => {
        const gone = once(child, 'exit');
        child.kill('SIGKILL');
        return gone;
      }),
    ),
  );
}

/** So many new sessions at once, with a short program in each: none may fail, and none may be late, for what the start of
 *  its sandbox took. Resolves with how long the last one waited. */
export async function sessionsAtOnce(t: Test, { sessions }: { sessions: number }): Promise<number> {
  const world = await startService(t, {
    MAX_SESSIONS: String(sessions),
    MAX_RUNNING_TASKS: String(sessions),
  });
  keepProcessorsBusy(t);
  const submitted = await Promise.all(
    Array.from({ length: sessions }, async () => {
      const { sessionId } = await world.session({ limits: { memoryMb: 128, diskMb: 64 } });
      const constraints = { timeoutSeconds: 5 };
      return world.submit(sessionId, 'run.python', { code: 'print(1)' }, { constraints });
    }),
  );
  const waiting = new Map<string, number>();
  const look = async ({ taskId }: Task): Promise<Task> => {
    for (;;) {
      const { body: task } = await world.call<Task>('GET', `/v1/tasks/${taskId}?wait=1`);
      if (task.endedAt !== null) return task;
      if (task.status !== 'queued') continue;
      t.equal(task.startedAt, null);
      // Between its acceptance and its turn it waits for nothing that could be named.
      if (task.waitsFor) waiting.set(taskId, Math.max(task.queuePosition!, waiting.get(taskId) ?? 0));
    }
  };
  const ended = await Promise.all(submitted.map(look));
  for (const { ending, status, taskId } of ended) {
    if (status !== 'success')
      t.match({ status, ending }, { status: 'success' }, `${taskId}: ${ending?.message}`);
  }
  t.ok(Math.max(0, ...waiting.values()) > 1, 'where a task stands among the starts is shown');
  const longest = ended.reduce((a, b) => (b.queueMs! > a.queueMs! ? b : a));
  for (const task of sessions > 50 ? [longest] : ended) {
    const events = (await eventsOf(world, task.sessionId)).filter((event) => 'taskId' in event);
    const told = events.filter(({ type }) => type === 'task.waiting');
    for (const { data } of told) t.match(data, { waitsFor: 'sandbox', queuePosition: Number });
    if (task.queueMs! > TOLD_MS) t.ok(told.length > 0, `a wait of ${task.queueMs} ms is told`);
    const types = [...new Set(events.map(({ type }) => type))].filter((type) => type !== 'task.waiting');
    t.same(types, ['task.queued', 'task.started', 'task.output', 'task.ended']);
    const first = (type: string) => events.findIndex((event) => event.type === type);
    const last = events.findLastIndex(({ type }) => type === 'task.waiting');
    t.ok(last < first('task.started'), 'and not after its start');
  }
  return longest.queueMs!;
}
