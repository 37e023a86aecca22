// Random events, and readers on all three transports that are cut at random and resume: each ends with exactly the
// journal, byte for byte.
import fc from 'fast-check';
import t from 'tap';
import type { SessionKey } from '../../src/events/journal.js';
import { OutputWriter } from '../../src/events/output.js';
import type { NewEvent } from '../../src/events/schema.js';
import type { TaskRow } from '../../src/store/schema.js';
import { openSocket, openSse, until } from '../helpers/event-client.js';
import { startEventService } from '../helpers/event-service.js';
import { addSession, addTask, collect, expiring, linesOf, taskEnded, terminated } from '../helpers/store.js';

const service = await startEventService(t);
const { http, ws, store, journal, reader } = service;

/** Reads to the end of a stream, going away after as many events as each of `cuts` says, and coming back. */
type Follow = (path: string, cuts: readonly number[]) => Promise<string[]>;

const lastSeq = (events: readonly string[]) => (events.length === 0 ? 0 : JSON.parse(events.at(-1)!).seq);

const followSocket: Follow = async (path, cuts) => {
  const all: string[] = [];
  for (const cut of [...cuts, Number.POSITIVE_INFINITY]) {
    const client = openSocket(t, `${ws}${path}?after=${lastSeq(all)}`);
    let code: number | undefined;
    void client.closed.then((closed) => {
      code = closed;
    });
    await until(() => client.events().length >= cut || code !== undefined);
    client.socket.terminate();
    await client.closed;
    all.push(...client.events());
    if (code === 1000) return all;
  }
  throw new Error('the last socket was not complete');
};

const followSse: Follow = async (path, cuts) => {
  const all: string[] = [];
  for (const cut of [...cuts, Number.POSITIVE_INFINITY]) {
    const client = openSse(t, `${http}${path}`, { 'last-event-id': String(lastSeq(all)) });
    let ended: boolean | undefined;
    void client.ended.then((isComplete) => {
      ended = isComplete;
    });
    await until(() => client.events().length >= cut || ended !== undefined);
    const isComplete = ended === true;
    client.cut();
    all.push(...client.events());
    if (isComplete) return all;
  }
  throw new Error('the last stream was not complete');
};

const followPages: Follow = async (path, cuts) => {
  const all: string[] = [];
  for (let request = 0; ; request++) {
    const limit = Math.max(1, cuts[request % Math.max(1, cuts.length)] ?? 10);
    const response = await fetch(`${http}${path}?after=${lastSeq(all)}&limit=${limit}&wait=5`);
    const text = await response.text();
    const { events } = JSON.parse(text) as { events: { type: string; data: { to?: string } }[] };
    const lines = events.map((event) => JSON.stringify(event));
    if (!text.startsWith(`{"events":[${lines.join(',')}],`))
      throw new Error(`not as it was written: ${text}`);
    all.push(...lines);
    const last = events.at(-1);
    if (last?.type === 'task.ended' && path.includes('/tasks/')) return all;
    if (last?.data.to === 'terminated') return all;
  }
};

const chunk = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 300 }),
  fc.string({ unit: 'binary', minLength: 1, maxLength: 100 }).map((text) => Buffer.from(text)),
  fc.integer({ min: 1, max: 200_000 }).map((length) => Buffer.alloc(length, 'grüße €😀\n')),
);
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('output' as const), chunk, toError: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('events' as const), count: fc.integer({ min: 1, max: 40 }) }),
  },
  { weight: 2, arbitrary: fc.constant({ kind: 'breath' as const }) },
);
const cuts = fc.array(fc.integer({ min: 0, max: 25 }), { maxLength: 5 });

async function produce(
  session: SessionKey,
  task: TaskRow,
  steps: readonly (typeof step extends fc.Arbitrary<infer S> ? S : never)[],
) {
  const written: Record<'stdout' | 'stderr', Uint8Array[]> = { stdout: [], stderr: [] };
  const writer = new OutputWriter({
    journal,
    session,
    task: { id: task.id, taskId: task.task_id },
    maxBytes: Number.MAX_SAFE_INTEGER,
    sessionRoom: () => Number.POSITIVE_INFINITY,
    onLimit: () => t.fail('no limit was set'),
    onError: (error) => t.error(error),
  });
  const appends: Promise<unknown>[] = [];
  for (const each of steps) {
    if (each.kind === 'output') {
      const stream = each.toError ? 'stderr' : 'stdout';
      written[stream].push(each.chunk);
      await writer.write(stream, each.chunk);
    } else if (each.kind === 'events') {
      const events = Array.from({ length: each.count }, (_, index): NewEvent => expiring(index));
      appends.push(journal.append(session, events));
    } else {
      await new Promise(setImmediate);
    }
  }
  await writer.flush();
  await Promise.all(appends);
  await journal.append(session, [taskEnded(task.task_id)], {
    after: [
      {
        sql: 'update tasks set last_seq = (select last_seq from sessions where id = ?) where id = ?',
        parameters: [session.id, task.id],
      },
    ],
  });
  await journal.append(session, [terminated], {
    after: [{ sql: "update sessions set state = 'terminated' where id = ?", parameters: [session.id] }],
  });
  return { stdout: Buffer.concat(written.stdout), stderr: Buffer.concat(written.stderr) };
}

t.test('every reader, however often it is cut, ends with exactly the journal', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 5, maxLength: 40 }),
      fc.array(cuts, { minLength: 6, maxLength: 6 }),
      async (steps, ways) => {
        const { row, key } = await addSession(store);
        const task = await addTask(store, row);
        const sessionPath = `/v1/sessions/${key.sessionId}/events`;
        const taskPath = `/v1/tasks/${task.task_id}/events`;
        const views = [sessionPath, taskPath];
        const follows = views.flatMap((path) =>
          [followSocket, followSse, followPages].map((follow) => ({ path, follow })),
        );
        const [output, ...followed] = await Promise.all([
          produce(key, task, steps),
          ...follows.map(({ path, follow }, index) => follow(path, ways[index]!)),
        ]);
        const read = async (taskId?: string) =>
          linesOf(
            await collect(
              reader.read({
                session: key,
                taskId,
                after: 0,
                signal: new AbortController().signal,
                follow: false,
              }),
            ),
          );
        const journals: Record<string, string[]> = {
          [sessionPath]: await read(),
          [taskPath]: await read(task.task_id),
        };
        const numbers = journals[sessionPath]!.map((line) => JSON.parse(line).seq);
        t.strictSame(
          numbers,
          numbers.map((_, index) => index + 1),
          'numbered without a hole',
        );
        for (const [index, { path, follow }] of follows.entries()) {
          const same = followed[index]!.join('\n') === journals[path]!.join('\n');
          t.ok(same, `${follow.name} of ${path.split('/')[2]}`);
        }
        for (const stream of ['stdout', 'stderr'] as const) {
          const shown = journals[taskPath]!.map((line) => JSON.parse(line)).filter(
            ({ data }) => data.stream === stream,
          );
          t.equal(
            shown.map(({ data }) => data.text).join(''),
            output[stream].toString('utf8'),
            `${stream} as text`,
          );
        }
      },
    ),
    { numRuns: 8, endOnFailure: true },
  );
});
