// The client of an agent, against an agent that is hostile, slow or dead: its frames are written by the test.
import t from 'tap';
import { deferred } from '../../src/lib/deferred.js';
import { ProgramExec } from '../../src/sandbox/program-exec.js';
import { until } from '../helpers/event-client.js';
import { EXITED, fakeAgent, program, started } from '../helpers/fake-agent.js';

t.test('a program runs in the process that waits, and its end is told once', async (t) => {
  const { say, exec, told } = await started(t);
  t.match(
    told.filter(({ type }) => type === 'r' || type === 'R'),
    [
      { type: 'r', id: 5, payload: Buffer.from('{"code":"1"}') },
      { type: 'R', id: 5, payload: Buffer.alloc(0) },
    ],
    'all of the request, and then the word to begin',
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
  t.equal(await agent.ended, 'it ended with code 1', 'what was said on stderr is for the log');
  for (const each of [exec, waiting]) {
    t.match(await each.ended, {
      how: { kind: 'sandboxDied', message: 'the sandbox ended: it ended with code 1' },
    });
  }
  await t.rejects(agent.speaks, { message: /code 1/ });
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
    ['r', 'r', 'r', 'R'],
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
  // The timers of an agent keep no process alive, and these are all there is here.
  const alive = setInterval(() => {}, 1_000);
  t.teardown(() => clearInterval(alive));
  const idle = fakeAgent(t, { idleMs: 20 });
  t.equal(await idle.agent.ended, 'it was idle');
  const busy = await started(t, { idleMs: 20 });
  await new Promise((resolve) => setTimeout(resolve, 60));
  t.notOk(busy.agent.isGone);
  busy.say('X', 5, EXITED);
  t.equal(await busy.agent.ended, 'it was idle');
});

t.test('nothing of a program is begun before it may start, and all else is ready by then', async (t) => {
  const gate = deferred();
  const { agent, say, told, wasTold } = fakeAgent(t);
  const exec = program(
    () => {},
    'input',
    () => gate.promise,
  );
  agent.run(exec);
  say('N', 5, { keeper: 3 });
  await wasTold('r');
  await new Promise(setImmediate);
  t.notOk(told.some(({ type }) => 'RI'.includes(type)));
  gate.resolve();
  await wasTold('R');
  await wasTold('I');
  say('X', 5, EXITED);
  t.match(await exec.ended, { how: { kind: 'exited' } });
});

t.test('a program that may not start is called off, and its process is given back', async (t) => {
  const { agent, say, told, wasTold } = fakeAgent(t);
  const exec = program(
    () => {},
    '',
    () => Promise.reject(new Error('the store is full')),
  );
  agent.run(exec);
  say('N', 5, { keeper: 3 });
  t.match(await exec.ended, { how: { kind: 'calledOff' }, processesKilled: 0 });
  t.equal((await wasTold('K')).id, 5);
  t.notOk(told.some(({ type }) => type === 'R'));
});

t.test('a program whose process dies before it began gets another one, and asks once', async (t) => {
  const gate = deferred();
  let asked = 0;
  const { agent, say, told, wasTold } = fakeAgent(t);
  const exec = program(
    () => {},
    '',
    () => {
      asked += 1;
      return gate.promise;
    },
  );
  agent.run(exec);
  say('N', 5, { keeper: 3 });
  await wasTold('r');
  say('n', 5, { error: 'it ended before it was asked for' });
  await until(() => told.filter(({ type }) => type === 'W').length === 2);
  say('N', 6, { keeper: 4 });
  gate.resolve();
  t.equal((await wasTold('R')).id, 6);
  t.equal(asked, 1);
  say('X', 6, EXITED);
  t.match(await exec.ended, { how: { kind: 'exited' } });
  t.notOk(agent.isGone);
});

t.test('one whose process dies just as it begins did not start, and the sandbox stays', async (t) => {
  const { agent, say, exec } = await started(t);
  const [beside] = [program()];
  say('n', 5, { error: 'it ended before it was asked for' });
  t.match(await exec.ended, {
    how: { kind: 'spawnFailed', code: 'EAGAIN', message: /nothing of the program has run/ },
    processesKilled: 0,
  });
  agent.run(beside);
  say('N', 6, { keeper: 4 });
  await until(() => agent.isBusy);
  say('X', 5, EXITED);
  await new Promise(setImmediate);
  t.notOk(agent.isGone, 'and later ends of that number are nobody’s');
});

t.test('a program for an agent that is gone is told so at once', async (t) => {
  const { agent, die } = fakeAgent(t);
  die();
  await agent.ended;
  const exec = program();
  agent.run(exec);
  t.match(await exec.ended, { how: { kind: 'sandboxDied' }, processesKilled: 0 });
});

t.test('a program that had not begun when the agent died is given back', async (t) => {
  const given: string[] = [];
  const gate = deferred();
  const { agent, say, die, wasTold } = fakeAgent(t, { notBegun: (_exec, why) => given.push(why) });
  agent.run(
    program(
      () => {},
      '',
      () => gate.promise,
    ),
  );
  say('N', 5, { keeper: 3 });
  await wasTold('r');
  die();
  await agent.ended;
  t.same(given, ['the sandbox ended: it ended with code 1']);
});

t.test('a start that takes too long is told as that, with the limit and the next step', async (t) => {
  const { agent } = fakeAgent(t, { startWithinMs: 20, startLimitMs: 20 });
  const exec = program();
  agent.run(exec);
  t.match(await exec.ended, {
    how: {
      kind: 'startTimedOut',
      message: /within 0.02 s .*SANDBOX_START_TIMEOUT_SECONDS.* Submit it again/,
    },
  });
  await t.rejects(agent.ready, { message: /SANDBOX_START_TIMEOUT_SECONDS/ });
});

t.test('an agent that only waited for a processor is not late, and one that had its turns is', async (t) => {
  let ranNs = 0;
  const reading = { isFrozen: true };
  const { agent, say } = fakeAgent(t, {
    ...{ startWithinMs: 80, startLimitMs: 80 },
    readProcessor: () => {
      if (!reading.isFrozen) ranNs += 1e6;
      return { state: 'R', ranNs, waitedNs: 0 };
    },
  });
  await new Promise((resolve) => setTimeout(resolve, 250));
  t.notOk(agent.isGone, 'three times its limit, and it was never its turn');
  reading.isFrozen = false;
  t.equal(await agent.ended, 'it did not start in time');
  say('H', 0);
});

t.test('a reading that always excuses it holds nobody up for ever', async (t) => {
  const { agent } = fakeAgent(t, {
    ...{ startWithinMs: 20, startLimitMs: 20 },
    readProcessor: () => ({ state: 'R', ranNs: 0, waitedNs: 0 }),
  });
  t.equal(await agent.ended, 'it did not start in time');
});

t.test('an agent for programs is ready when a process waits, and one for files when it speaks', async (t) => {
  const order: string[] = [];
  const forPrograms = fakeAgent(t);
  const forFiles = fakeAgent(t, { programs: false });
  void forPrograms.agent.ready.then(() => order.push('programs'));
  void forFiles.agent.ready.then(() => order.push('files'));
  for (const { say } of [forPrograms, forFiles]) say('H', 0);
  await forFiles.agent.ready;
  t.same(order, ['files']);
  forPrograms.say('N', 1, { keeper: 3 });
  await forPrograms.agent.ready;
});

t.test('an agent is not idle while a file operation waits for its answer', async (t) => {
  const alive = setInterval(() => {}, 1_000);
  t.teardown(() => clearInterval(alive));
  const { agent, say } = fakeAgent(t, { idleMs: 20 });
  const channel = agent.connectHelper();
  await channel.send(Buffer.alloc(8));
  const answered = channel.expectAnswer();
  say('h', 1, Buffer.from([0, 0, 0, 8]));
  await new Promise((resolve) => setTimeout(resolve, 80));
  t.notOk(agent.isGone);
  answered();
  t.equal(await agent.ended, 'it was idle');
});

t.test('what a helper that has gone had taken is not its successor’s', async (t) => {
  const { agent, say, told } = fakeAgent(t);
  const first = agent.connectHelper();
  await first.send(Buffer.alloc(900_000));
  const closed = new Promise((resolve) => first.onClosed(resolve));
  say('f', 1);
  await closed;
  const second = agent.connectHelper();
  const got: string[] = [];
  second.onMessage((message) => got.push(String(message)));
  await second.send(Buffer.from('small'));
  const taken = Buffer.alloc(4);
  taken.writeUInt32BE(900_000);
  say('h', 1, taken);
  say('F', 1, 'of the first');
  say('f', 1);
  say('F', 2, 'of the second');
  await until(() => got.length === 1);
  t.same(got, ['of the second']);
  t.notOk(agent.isGone);
  t.same(
    told.filter(({ type }) => type === 'F').map(({ id }) => id),
    [1, 2],
  );
});

t.test('a helper that takes no new work gives way to another, and finishes its own', async (t) => {
  const { agent, say } = fakeAgent(t);
  const [first, got] = [agent.connectHelper(), [] as string[]];
  first.onMessage((message) => got.push(String(message)));
  first.retire();
  t.not(agent.connectHelper(), first);
  say('F', 1, 'late');
  await until(() => got.length === 1);
  t.same(got, ['late']);
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
  say('h', 1, taken);
  await second;
  say('F', 1, 'answer');
  await until(() => got.length === 1);
  t.same(got, ['answer']);
  t.equal(agent.connectHelper(), channel, 'the one that lives');
  say('f', 1, { status: 9 });
  t.equal((await closed).message, 'the file helper ended');
  t.not(agent.connectHelper(), channel, 'a new one');
  await t.rejects(channel.send(Buffer.from('x')), { message: 'the file helper ended' });
});
