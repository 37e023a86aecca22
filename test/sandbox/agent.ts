// The client of an agent, against an agent that is hostile, slow or dead: its frames are written by the test.
import t from 'tap';
import { deferred } from '../../src/lib/deferred.js';
import { ProgramExec } from '../../src/sandbox/program-exec.js';
import { until } from '../helpers/event-client.js';
import { EXITED, fakeAgent, program, started } from '../helpers/fake-agent.js';

t.test('a program runs in the process that waits, and its end is told once', async (t) => {
  const { say, exec, told } = await started(t);
  t.match(
    told.find(({ type }) => type === 'R'),
    { id: 5, payload: Buffer.from('{"code":"1"}') },
  );
  say('X', 5, { ...EXITED, exitCode: 3 });
  say('X', 5, { ...EXITED, exitCode: 0 });
  t.match(await exec.ended, { how: { kind: 'exited', exitCode: 3 }, processesKilled: 0 });
});

t.test('output of programs that do not run goes nowhere', async (t) => {
  const seen: string[] = [];
  const { say, exec } = await started(
    t,
    {},
    program((_stream, chunk) => void seen.push(chunk.toString())),
  );
  say('O', 6, 'not mine');
  say('O', 5, 'mine');
  say('X', 6, EXITED);
  say('X', 5, EXITED);
  await exec.ended;
  t.same(seen, ['mine']);
});

for (const [what, type, payload] of [
  ['an end that is no JSON', 'X', '{'],
  ['a type of frame that does not exist', '?', ''],
  ['more stdin taken than was sent', 'i', Buffer.from([0, 0, 1, 0])],
  ['a confirmation that is no number', 'i', 'xxx'],
  ['a second process under a known number', 'N', '{"keeper": 4}'],
] as const) {
  t.test(`an agent that says nonsense is killed: ${what}`, async (t) => {
    const { agent, say, exec } = await started(t);
    say(type, 5, payload);
    t.equal(await agent.ended, 'its agent spoke nonsense');
    t.match(await exec.ended, { how: { kind: 'sandboxDied' } });
  });
}

t.test('an agent that announces a frame beyond all bounds is killed', async (t) => {
  const { agent, stdout } = fakeAgent(t);
  stdout.write(Buffer.from([0xff, 0xff, 0xff, 0xff, 0x4f, 0, 0, 0, 1]));
  t.equal(await agent.ended, 'its agent spoke nonsense');
});

t.test('an end is told in our own words, whatever the agent says', async (t) => {
  for (const [said, how] of [
    [null, { kind: 'signaled', signal: 'SIGKILL' }],
    [{ exitCode: 1e9 }, { kind: 'signaled', signal: 'SIGKILL' }],
    [
      { exitCode: -1, signal: 'x' },
      { kind: 'signaled', signal: 'SIGKILL' },
    ],
    [{ signal: 6 }, { kind: 'signaled', signal: 'SIGABRT' }],
    [{ signal: 34 }, { kind: 'signaled', signal: 'SIG34' }],
    [
      { failed: { code: 'ENOENT', message: 'x'.repeat(9000) } },
      { kind: 'spawnFailed', code: 'ENOENT', message: 'x'.repeat(2000) },
    ],
  ] as const) {
    const { say, exec } = await started(t);
    say('X', 5, { killed: -3, cpuMs: 'much', ...said });
    t.same(await exec.ended, { how, processesKilled: 0, cpuMs: undefined, peakMemoryBytes: undefined });
  }
});

t.test('when the agent dies, what ran, and what waited to run, is told so', async (t) => {
  const { agent, die, exec } = await started(t);
  const waiting = program();
  agent.run(waiting);
  die('agent.py: boom\n');
  t.equal(await agent.ended, 'agent.py: boom');
  for (const each of [exec, waiting]) {
    t.match(await each.ended, {
      how: { kind: 'sandboxDied', message: 'the sandbox ended: agent.py: boom' },
    });
  }
  await t.rejects(agent.ready, { message: /boom/ });
  await t.rejects(
    agent
      .connectHelper()
      .send(Buffer.from('x'))
      .then(() => agent.bridge(true)),
  );
});

t.test(
  'an end that the agent does not carry out is carried out by us: the group, then the sandbox',
  async (t) => {
    const calls: string[] = [];
    const group = {
      members: () => 4,
      oomKills: () => 0,
      kill: async () => void calls.push('kill the group'),
      remove: async () => {},
    };
    const { agent, exec, told } = await started(t, { group });
    exec.end(0);
    t.match(await exec.ended, { how: { kind: 'signaled', signal: 'SIGKILL' }, processesKilled: 4 });
    t.same(calls, ['kill the group']);
    t.ok(told.some(({ type }) => type === 'K'));
    t.equal(await agent.ended, 'it did not end a program that was to be killed');
  },
);

t.test('SIGTERM comes first, once, and asking again can hurry the end', async (t) => {
  const { say, exec, told, wasTold } = await started(t);
  exec.end(60_000);
  exec.end(60_000);
  exec.end(0);
  await wasTold('K');
  t.same(
    told.map(({ type }) => type).filter((type) => 'TK'.includes(type)),
    ['T', 'K'],
  );
  say('X', 5, { ...EXITED, exitCode: null, signal: 9, killed: 2 });
  t.match(await exec.ended, { how: { kind: 'signaled', signal: 'SIGKILL' }, processesKilled: 2 });
});

t.test('a program that is ended before it began never begins', async (t) => {
  const { agent, say, told, wasTold } = fakeAgent(t);
  const [called, kept] = [program(), program()];
  agent.run(called);
  called.end(1000);
  t.match(await called.ended, { how: { kind: 'calledOff' }, processesKilled: 0 });
  agent.run(kept);
  say('N', 1, { keeper: 3 });
  await wasTold('R');
  t.equal(told.filter(({ type }) => type === 'R').length, 1);
  say('X', 1, EXITED);
  t.match(await kept.ended, { how: { kind: 'exited' } });
});

t.test('what a program left behind is killed before its end is told', async (t) => {
  const calls: string[] = [];
  const group = {
    members: () => 1,
    oomKills: () => 1,
    kill: async () => void calls.push('kill'),
    remove: async () => void calls.push('remove'),
  };
  const { say, exec } = await started(t, { group });
  say('X', 5, EXITED);
  t.match(await exec.ended, { how: { kind: 'exited' }, limit: 'outOfMemory' });
  await until(() => calls.length === 2);
  t.same(calls, ['kill', 'remove']);
});

t.test(
  'while a reader of output is slow nothing more is read, and the silence is nobody’s fault',
  async (t) => {
    const gate = deferred();
    const seen: string[] = [];
    const { agent, say, exec, stdout } = await started(
      t,
      {},
      program((_stream, chunk) => {
        seen.push(chunk.toString());
        return gate.promise;
      }),
    );
    say('O', 5, 'one');
    await until(() => seen.length === 1);
    t.ok(stdout.isPaused());
    t.notOk(agent.clock.isRunning);
    say('O', 5, 'two');
    await new Promise(setImmediate);
    t.same(seen, ['one']);
    gate.resolve();
    await until(() => seen.length === 2);
    say('X', 5, EXITED);
    await exec.ended;
    t.ok(agent.clock.isRunning);
  },
);

t.test('stdin goes as it is taken, and whoever writes when nobody reads is told', async (t) => {
  const { say, exec, told } = await started(
    t,
    {},
    program(() => {}, 'first'),
  );
  const sent = () =>
    told
      .filter(({ type }) => type === 'I')
      .map(({ payload }) => payload.toString())
      .join('');
  await until(() => sent() === 'first');
  const second = exec.writeStdin(Buffer.from(' second'), true);
  await until(() => told.some(({ type }) => type === 'E'));
  t.equal(sent(), 'first second');
  await t.rejects(exec.writeStdin(Buffer.from('x'), false), { message: 'standard input was closed' });
  say('g', 5);
  await t.rejects(second, { message: 'nobody reads standard input any more' });
});

t.test('a request longer than a frame goes in pieces', async (t) => {
  const { agent, say, told, wasTold } = fakeAgent(t);
  const request = Buffer.alloc(2_500_000, 'x');
  agent.run(new ProgramExec(request, undefined, { stdin: Buffer.alloc(0), stdinOpen: false }, () => {}));
  say('N', 1, { keeper: 3 });
  await wasTold('R');
  const pieces = told.filter(({ type }) => type === 'r' || type === 'R');
  t.same(
    pieces.map(({ type }) => type),
    ['r', 'r', 'R'],
  );
  t.ok(Buffer.concat(pieces.map(({ payload }) => payload)).equals(request));
});

t.test('processes that were there before everything was loaded are replaced', async (t) => {
  const { agent, say, told, wasTold } = fakeAgent(t);
  say('N', 1, { keeper: 3, loaded: 0 });
  say('N', 2, { keeper: 4, loaded: 1 });
  t.equal((await wasTold('K')).id, 1);
  agent.run(program());
  t.equal((await wasTold('R')).id, 2);
  t.equal(told.filter(({ type }) => type === 'K').length, 1);
});

t.test('an agent without work is ended, and one with work is not', async (t) => {
  const idle = fakeAgent(t, { idleMs: 20 });
  t.equal(await idle.agent.ended, 'it was idle');
  const busy = await started(t, { idleMs: 20 });
  await new Promise((resolve) => setTimeout(resolve, 60));
  t.notOk(busy.agent.isGone);
  busy.say('X', 5, EXITED);
  t.equal(await busy.agent.ended, 'it was idle');
});

t.test('messages to the helper are bounded by what it has taken', async (t) => {
  const { agent, say, told } = fakeAgent(t);
  const channel = agent.connectHelper();
  const got: string[] = [];
  channel.onMessage((message) => got.push(message.toString()));
  const closed = new Promise<Error>((resolve) => channel.onClosed(resolve));
  await channel.send(Buffer.alloc(700_000));
  let isSent = false;
  const second = channel.send(Buffer.alloc(700_000)).then(() => {
    isSent = true;
  });
  await until(() => told.filter(({ type }) => type === 'F').length === 2);
  t.notOk(isSent);
  const taken = Buffer.alloc(4);
  taken.writeUInt32BE(700_000);
  say('h', 0, taken);
  await second;
  say('F', 0, 'answer');
  await until(() => got.length === 1);
  t.same(got, ['answer']);
  t.equal(agent.connectHelper(), channel, 'the one that lives');
  say('f', 0, { status: 9 });
  t.equal((await closed).message, 'the file helper ended');
  t.not(agent.connectHelper(), channel, 'a new one');
  await t.rejects(channel.send(Buffer.from('x')), { message: 'the file helper ended' });
});

t.test('a program that is given to an agent which has ended is told so', async (t) => {
  const { agent, die } = fakeAgent(t);
  die('gone');
  await agent.ended;
  const exec = program();
  agent.run(exec);
  t.match(await exec.ended, { how: { kind: 'sandboxDied', message: /gone/ }, processesKilled: 0 });
});

t.test('a process that goes after it was chosen costs its program and nobody else', async (t) => {
  const { agent, say, exec } = await started(t);
  const other = program();
  agent.run(other);
  say('n', 5, { error: 'it ended before it was asked for' });
  t.match(await exec.ended, { how: { kind: 'spawnFailed', code: 'EAGAIN' }, processesKilled: 0 });
  say('N', 6, { keeper: 4 });
  await until(() => other.hasBegun);
  say('X', 6, EXITED);
  t.match(await other.ended, { how: { kind: 'exited', exitCode: 0 } });
  t.notOk(agent.isGone);
});

t.test('an end of a program that was not begun costs the sandbox and not the service', async (t) => {
  const limiting = deferred<void>();
  const group = { limitMemory: () => limiting.promise, remove: async () => {}, oomKills: () => 0 };
  const { agent, say } = fakeAgent(t, { group: group as never });
  const exec = new ProgramExec(
    Buffer.from('{}'),
    64 * 2 ** 20,
    { stdin: Buffer.alloc(0), stdinOpen: false },
    () => {},
  );
  agent.run(exec);
  say('N', 5, { keeper: 3 });
  await until(() => agent.isBusy && !agent.isGone);
  await new Promise(setImmediate);
  say('X', 5, EXITED);
  t.equal(await agent.ended, 'its agent spoke nonsense');
  limiting.resolve();
  t.match(await exec.ended, { how: { kind: 'sandboxDied' }, processesKilled: 0 });
});
