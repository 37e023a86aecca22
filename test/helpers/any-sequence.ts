// Random sequences of what clients and operators do, against a real service process, with readers on every transport
// that go away and come back; and what must hold whatever happened.
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import type { Test } from 'tap';
import type { Event } from '../../src/events/schema.js';
import type { Problem } from '../../src/http/problem-schema.js';
import type { Session } from '../../src/sessions/schema.js';
import { statusOf, type Task } from '../../src/tasks/schema.js';
import { Follower, TRANSPORTS } from './follower.js';
import { brokenRules } from './journal-rules.js';
import { type ServiceProcess, startProcess } from './service-process.js';

/** What a task does; each can meet every kind of end. */
const WORK = {
  echo: { tool: 'echo', arguments: { message: 'grüße €😀' } },
  lines: { tool: 'run.python', arguments: { code: 'for n in range(500): print(n, "grüße €😀")' } },
  bytes: {
    tool: 'run.python',
    arguments: {
      code: 'import os, sys\nfor n in range(30): os.write(1, os.urandom(997)); os.write(2, os.urandom(31))',
    },
  },
  slow: {
    tool: 'run.python',
    arguments: { code: 'import time\nfor n in range(200): print(n, flush=True); time.sleep(.01)' },
  },
  stubborn: {
    tool: 'run.command',
    arguments: { command: 'trap "" TERM; echo ready; while :; do sleep 1; done' },
    constraints: { timeoutSeconds: 2, killGraceMs: 50 },
  },
  failing: { tool: 'run.command', arguments: { command: 'echo out; echo err >&2; kill -9 $$' } },
  limited: {
    tool: 'run.command',
    arguments: { command: 'yes ü' },
    constraints: { maxOutputBytes: 100_001, killGraceMs: 0 },
  },
  file: { tool: 'fs.read', arguments: { path: 'not-there' } },
} as const;
type Work = keyof typeof WORK;

const pick = fc.nat({ max: 1000 });
const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      op: fc.constant('submit' as const),
      session: pick,
      work: fc.constantFrom(...(Object.keys(WORK) as Work[])),
      background: fc.boolean(),
      timeoutMs: fc.option(fc.integer({ min: 1, max: 400 }), { freq: 4 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ op: fc.constant('cancel' as const), task: pick }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('wait' as const), task: pick }) },
  {
    weight: 2,
    arbitrary: fc.record({ op: fc.constant('rest' as const), ms: fc.integer({ min: 1, max: 150 }) }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('delete' as const), session: pick }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('checkpoint' as const), session: pick }) },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant('restart' as const),
      signal: fc.constantFrom('SIGKILL' as const, 'SIGTERM' as const),
    }),
  },
);
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never;

const SESSIONS = 2;

export interface AnySequenceOptions {
  readonly runs: number;
  readonly steps: number;
}

export async function anySequence(
  t: Test,
  dataDir: string,
  { runs, steps }: AnySequenceOptions,
): Promise<void> {
  let run = 0;
  const service = new Restartable(t, dataDir);
  await service.start();
  await fc
    .assert(
      fc.asyncProperty(
        fc.array(step, { minLength: steps / 2, maxLength: steps, size: 'max' }),
        fc.infiniteStream(fc.boolean()),
        async (sequence, whims) => {
          run += 1;
          const story = new Story(service, `run-${run}`, () => whims.next().value as boolean);
          try {
            await story.begin();
            for (const each of sequence) await story.take(each);
            const broken = await story.end();
            if (broken.length > 0) throw new Error(broken.join('\n'));
          } finally {
            await story.close();
          }
        },
      ),
      // A shrunk sequence would meet other moments: the one that failed is what tells most.
      { numRuns: runs, endOnFailure: true },
    )
    .finally(() => service.stop('SIGTERM'));
  t.equal(run, runs, 'every sequence held');
}

/** A request that comes while SIGTERM is heeded is refused, in these words only. */
const isStopping = ({ code }: Partial<Problem>): boolean => code === 'SHUTTING_DOWN';

/** The service as a process, wherever it is just now. */
class Restartable {
  url: string | undefined;
  /** How often it was stopped. */
  stops = 0;
  #process: ServiceProcess | undefined;

  constructor(
    readonly t: Test,
    readonly dataDir: string,
  ) {}

  async start(): Promise<void> {
    this.#process = startProcess(this.t, this.dataDir);
    this.url = (await this.#process.line('listening')).address;
  }

  async stop(signal: 'SIGKILL' | 'SIGTERM'): Promise<void> {
    this.stops += 1;
    this.url = undefined;
    this.#process!.child.kill(signal);
    const code = await this.#process!.exited;
    if (signal === 'SIGTERM' && code !== 0) {
      const log = this.#process!.stdout().slice(-4000);
      throw new Error(`SIGTERM ended it with ${code}:\n${log}`);
    }
  }

  async call<T>(method: string, path: string, body?: unknown): Promise<{ status: number; body: T }> {
    const reply = await fetch(this.url + path, {
      method,
      ...(body ? { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) } : {}),
    });
    return { status: reply.status, body: (await reply.json()) as T };
  }
}

class Story {
  readonly #sessions: string[];
  readonly #readers: Follower[] = [];
  /** Accepted tasks. */
  readonly #tasks: string[] = [];
  /** Requests nobody waits for: they may meet a restart. */
  readonly #underWay = new Set<Promise<unknown>>();
  readonly #problems: string[] = [];

  constructor(
    readonly service: Restartable,
    readonly name: string,
    readonly isTired: () => boolean,
  ) {
    this.#sessions = Array.from({ length: SESSIONS }, (_, index) => `${name}-${index}`);
  }

  async begin(): Promise<void> {
    for (const [index, sessionId] of this.#sessions.entries()) {
      const created = await this.service.call('POST', '/v1/sessions', { sessionId, concurrency: index + 1 });
      this.#expect(created.status === 201, `creates ${sessionId}: ${created.status}`);
      for (const transport of TRANSPORTS) {
        const url = () => this.service.url;
        this.#readers.push(new Follower({ transport, sessionId, url, isTired: this.isTired }));
      }
    }
  }

  async take(step: Step): Promise<void> {
    switch (step.op) {
      case 'submit':
        return this.#submit(step);
      case 'cancel':
        return this.#meanwhile(this.#tasks, step.task, async (taskId) => {
          const { status, body } = await this.service.call<Partial<Problem>>(
            'POST',
            `/v1/tasks/${taskId}/cancel`,
            {},
          );
          this.#expect(status === 200 || isStopping(body), `cancels ${taskId}: ${status} ${body.code}`);
        });
      case 'wait':
        return this.#meanwhile(this.#tasks, step.task, async (taskId) => {
          await this.service.call('GET', `/v1/tasks/${taskId}?wait=1`);
        });
      case 'delete':
        return this.#meanwhile(this.#sessions, step.session, async (sessionId) => {
          const { status, body } = await this.service.call<Partial<Problem>>(
            'DELETE',
            `/v1/sessions/${sessionId}?force=true`,
          );
          this.#expect(status === 200 || isStopping(body), `deletes ${sessionId}: ${status} ${body.code}`);
        });
      case 'checkpoint':
        return this.#meanwhile(this.#sessions, step.session, async (sessionId) => {
          const { status } = await this.service.call('POST', `/v1/sessions/${sessionId}/checkpoints`, {});
          this.#expect([201, 409, 503].includes(status), `takes a checkpoint of ${sessionId}: ${status}`);
        });
      case 'rest':
        await sleep(step.ms);
        return;
      case 'restart':
        await this.service.stop(step.signal);
        await Promise.all(this.#underWay);
        await this.service.start();
        return;
      default:
        step satisfies never;
    }
  }

  async #submit({ session, work, background, timeoutMs }: Extract<Step, { op: 'submit' }>): Promise<void> {
    const sessionId = this.#sessions[session % SESSIONS]!;
    const { constraints, ...rest } = { constraints: {}, ...WORK[work] };
    const limits = { ...constraints, ...(timeoutMs === null ? {} : { timeoutSeconds: timeoutMs / 1000 }) };
    const body = { ...rest, constraints: limits, background };
    const path = `/v1/sessions/${sessionId}/tasks`;
    const { status, body: task } = await this.service.call<Task>('POST', path, body);
    if (status === 202) this.#tasks.push(task.taskId);
    else this.#expect([409, 429].includes(status), `submits to ${sessionId}: ${status}`);
  }

  /** Begins something that the next steps do not wait for; a restart may cut it, nothing else may go wrong. */
  async #meanwhile(ids: readonly string[], pick: number, work: (id: string) => Promise<void>): Promise<void> {
    const id = ids[pick % ids.length];
    if (id === undefined) return;
    const { stops } = this.service;
    const working = work(id)
      .catch((error) => this.#expect(this.service.stops > stops, String(error)))
      .finally(() => this.#underWay.delete(working));
    this.#underWay.add(working);
  }

  #expect(holds: boolean, what: string): void {
    if (!holds) this.#problems.push(what);
  }

  /** Ends everything and says which promises were broken. */
  async end(): Promise<string[]> {
    await Promise.all(this.#underWay);
    for (const sessionId of this.#sessions) {
      const { status, body } = await this.service.call<Session>(
        'DELETE',
        `/v1/sessions/${sessionId}?force=true`,
      );
      this.#expect(status === 200 && body.state === 'terminated', `ends ${sessionId}: ${status}`);
    }
    await Promise.all(this.#readers.map((reader) => reader.finished));
    const ended = new Set<string>();
    for (const sessionId of this.#sessions) {
      const [first, ...others] = this.#readers.filter((reader) => reader.sessionId === sessionId);
      for (const other of others) {
        const same = first!.lines.join('\n') === other.lines.join('\n');
        this.#expect(same, `${other.transport} and ${first!.transport} saw the same of ${sessionId}`);
      }
      const events = first!.lines.map((line) => JSON.parse(line) as Event);
      this.#problems.push(...brokenRules(events));
      for (const event of events) if (event.type === 'task.ended') ended.add(event.taskId);
      await this.#compareTasks(events);
    }
    for (const taskId of this.#tasks)
      this.#expect(ended.has(taskId), `${taskId} was accepted and is not lost`);
    return this.#problems;
  }

  /** The record of each task, and the bytes under /output/, are what its events tell. */
  async #compareTasks(events: readonly Event[]): Promise<void> {
    const ofTasks = events.filter((event) => 'taskId' in event);
    for (const taskId of new Set(ofTasks.map((event) => event.taskId))) {
      const own = ofTasks.filter((event) => event.taskId === taskId);
      const { body: task } = await this.service.call<Task>('GET', `/v1/tasks/${taskId}`);
      const end = own.at(-1)!;
      if (end.type !== 'task.ended') continue;
      this.#expect(task.status === end.data.status, `${taskId}: record and event have the same status`);
      this.#expect(task.status === statusOf(task.ending!), `${taskId}: the status follows from the cause`);
      this.#expect(
        task.firstSeq === own[0]!.seq && task.lastSeq === end.seq,
        `${taskId}: first and last number`,
      );
      for (const stream of ['stdout', 'stderr'] as const) {
        const told = own.flatMap((event) =>
          event.type === 'task.output' && event.data.stream === stream ? [event.data] : [],
        );
        const bytes = Buffer.from(
          await (await fetch(`${this.service.url}/v1/tasks/${taskId}/output/${stream}`)).arrayBuffer(),
        );
        const text = told.map((data) => data.text).join('');
        this.#expect(text === bytes.toString('utf8'), `${taskId}: ${stream} as text is what its bytes are`);
        const length = told.reduce((sum, data) => sum + data.length, 0);
        this.#expect(length === bytes.length, `${taskId}: ${stream} has the bytes that were told`);
      }
    }
  }

  close(): Promise<unknown> {
    return Promise.all(this.#readers.map((reader) => reader.stop()));
  }
}
