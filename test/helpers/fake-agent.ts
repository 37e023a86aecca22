// An agent whose frames are written by the test, and programs for it.
import { PassThrough } from 'node:stream';
import { pino } from 'pino';
import type { Test } from 'tap';
import { deferred } from '../../src/lib/deferred.js';
import { Agent, type AgentOptions } from '../../src/sandbox/agent.js';
import type { LaunchEnd } from '../../src/sandbox/launch.js';
import { ProgramExec } from '../../src/sandbox/program-exec.js';
import type { ProgramGroup } from '../../src/sandbox/program-group.js';
import { FrameParser, frameHeader } from '../../src/sandbox/protocol.js';
import type { OutputSink } from '../../src/sandbox/sandbox.js';
import { until } from './event-client.js';

/** What the agent was told, and a way to say things in its name. */
export function fakeAgent(
  t: Test,
  {
    group = null,
    ...options
  }: Partial<Omit<AgentOptions, 'launched' | 'groupFor'>> & { group?: Partial<ProgramGroup> | null } = {},
) {
  const [stdin, stdout] = [new PassThrough(), new PassThrough()];
  const ended = deferred<LaunchEnd>();
  const told: { type: string; id: number; payload: Buffer }[] = [];
  const parser = new FrameParser((type, id, payload) => told.push({ type, id, payload }));
  stdin.on('data', (chunk) => parser.push(chunk));
  const agent = new Agent({
    launched: {
      ...{ pid: 1, innerPid: 2, stdin, stdout, ended: ended.promise },
      kill: () => ended.resolve({ code: null, signal: 'SIGKILL', stderr: '' }),
    },
    groupFor: async () => group as ProgramGroup | null,
    groupCounts: false,
    idleMs: null,
    startWithinMs: 60_000,
    startLimitMs: 60_000,
    programs: true,
    preloads: true,
    ...options,
    log: pino({ level: 'silent' }),
  });
  t.teardown(() => agent.kill('the test is over'));
  return {
    agent,
    told,
    stdout,
    say(type: string, id: number, what: unknown = '') {
      const payload = Buffer.isBuffer(what)
        ? what
        : Buffer.from(typeof what === 'string' ? what : JSON.stringify(what));
      stdout.write(Buffer.concat([frameHeader(type, id, payload.length), payload]));
    },
    wasTold: (type: string) => until(() => told.find((frame) => frame.type === type)),
    die: (stderr = '') => ended.resolve({ code: 1, signal: null, stderr }),
  };
}

export function program(
  sink: OutputSink = () => {},
  stdin = '',
  mayStart?: () => Promise<void>,
): ProgramExec {
  return new ProgramExec(
    Buffer.from('{"code":"1"}'),
    undefined,
    { stdin: Buffer.from(stdin), stdinOpen: stdin !== '', mayStart },
    sink,
  );
}

export async function started(t: Test, options: Parameters<typeof fakeAgent>[1] = {}, exec = program()) {
  const fake = fakeAgent(t, options);
  fake.agent.run(exec);
  fake.say('N', 5, { keeper: 3 });
  await fake.wasTold('R');
  return { ...fake, exec };
}

export const EXITED = { exitCode: 0, signal: null, killed: 0, cpuMs: 1, peakMemoryBytes: 1 };
