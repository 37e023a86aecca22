// An agent that was taken over by what it runs: it forges, lies, floods and hangs. It may cost its own session its
// sandbox, and nobody else anything.
import t, { type Test } from 'tap';
import { deferred } from '../../src/lib/deferred.js';
import { ProgramExec } from '../../src/sandbox/program-exec.js';
import { until } from '../helpers/event-client.js';
import { EXITED, fakeAgent, program, started } from '../helpers/fake-agent.js';
import { residentBytes } from '../helpers/processes.js';

const MIB = 1024 * 1024;
const deep = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;

t.test('ended-twice: the first end counts', async (t) => {
  const { say, exec } = await started(t);
  say('X', 5, { ...EXITED, exitCode: 9 });
  say('X', 5, EXITED);
  t.match(await exec.ended, { how: { kind: 'exited', exitCode: 9 } });
});

t.test(
  'ends-of-strangers: a hundred thousand ends of programs that nobody started change nothing',
  async (t) => {
    const { say, exec, agent } = await started(t);
    const before = residentBytes(process.pid);
    for (let id = 6; id < 100_006; id += 1) say('X', id, { ...EXITED, exitCode: 1 });
    say('X', 5, EXITED);
    t.match(await exec.ended, { how: { kind: 'exited', exitCode: 0 } });
    t.notOk(agent.isGone);
    t.ok(residentBytes(process.pid) - before < 150 * MIB);
  },
);

t.test('output-after-the-end: is nobody’s', async (t) => {
  const seen: string[] = [];
  const { say, exec } = await started(
    t,
    {},
    program((_stream, chunk) => void seen.push(String(chunk))),
  );
  say('O', 5, 'before');
  say('X', 5, EXITED);
  await exec.ended;
  say('O', 5, 'after');
  say('E', 5, 'after');
  await new Promise(setImmediate);
  t.same(seen, ['before']);
});

t.test('output-for-another: a program gets what was said under its number and nothing else', async (t) => {
  const fake = fakeAgent(t);
  const seen = { first: '', second: '' };
  const programs = (['first', 'second'] as const).map((name) =>
    program((_stream, chunk) => {
      seen[name] += String(chunk);
    }),
  );
  for (const [index, each] of programs.entries()) {
    fake.agent.run(each);
    fake.say('N', index + 1, { keeper: 3 });
    await until(() => fake.told.filter(({ type }) => type === 'R').length === index + 1);
  }
  for (const id of [0, 1, 2, 3, 0xffffffff]) fake.say('O', id, String(id));
  for (const id of [1, 2]) fake.say('X', id, EXITED);
  await Promise.all(programs.map(({ ended }) => ended));
  t.same(seen, { first: '1', second: '2' });
});

for (const [name, type, payload] of [
  ['keeper-that-is-no-number', 'N', '{"keeper": {"valueOf": 1, "toString": 1}, "loaded": {"valueOf": 1}}'],
  ['keeper-nested-without-end', 'N', `{"keeper": ${deep(100_000)}}`],
  ['keeper-nothing', 'N', 'null'],
  ['helper-without-a-number', 'F', 'x'],
] as const) {
  t.test(`${name}: costs the sandbox at most`, async (t) => {
    const { say, exec } = await started(t);
    say(type, 77, payload);
    say('X', 5, EXITED);
    const { how } = await exec.ended;
    t.ok(['exited', 'sandboxDied'].includes(how.kind), how.kind);
  });
}

for (const [name, report] of [
  ['end-nested-without-end', `{"failed": {"code": ${deep(100_000)}, "message": ${deep(100_000)}}}`],
  ['end-that-cannot-be-shown', '{"failed": {"code": {"toString": 1}, "message": {"valueOf": null}}}'],
  ['end-with-a-prototype', '{"__proto__": {"exitCode": 0}, "constructor": {"prototype": {"exitCode": 0}}}'],
  ['end-beyond-numbers', '{"exitCode": 1e400, "signal": -1e400, "killed": 1e400, "cpuMs": 1e400}'],
] as const) {
  t.test(`${name}: is told as an end, and never as a success`, async (t) => {
    const { say, exec } = await started(t);
    say('X', 5, report);
    const { how } = await exec.ended;
    t.not(how.kind, 'exited');
    t.ok(JSON.stringify(how).length < 300);
  });
}

t.test('waiting-flood: processes that nobody wanted are not kept', async (t) => {
  const { agent, say } = fakeAgent(t);
  for (let id = 1; id < 1000; id += 1) say('N', id, { keeper: id });
  t.equal(await agent.ended, 'its agent spoke nonsense');
});

t.test('failure-flood: a program is told soon that no process can be had', async (t) => {
  const { agent, say } = fakeAgent(t);
  const exec = program();
  agent.run(exec);
  for (let id = 1; id < 1000; id += 1) say('n', id, { error: 'x'.repeat(5000) });
  const { how } = await exec.ended;
  t.match(how, { kind: 'spawnFailed' });
  t.ok(JSON.stringify(how).length < 3000);
});

t.test(
  'half-a-frame: what was announced and never comes is not waited for when the program is ended',
  async (t) => {
    const { agent, stdout, exec } = await started(t);
    stdout.write(Buffer.from([0, 0, 255, 255, 0x58, 0, 0, 0, 5, 0x7b]));
    exec.end(0);
    t.match(await exec.ended, { how: { kind: 'signaled', signal: 'SIGKILL' } });
    t.equal(await agent.ended, 'it did not end a program that was to be killed');
  },
);

t.test(
  'closed-ears: an agent that closes its end and lives on is ended, and so are its programs',
  async (t) => {
    const { agent, stdout, exec } = await started(t);
    stdout.end();
    t.match(await exec.ended, { how: { kind: 'sandboxDied' } });
    t.equal(await agent.ended, 'its agent closed the connection');
  },
);

t.test('piecemeal: frames that come byte by byte are the same frames', async (t) => {
  let seen = '';
  const { stdout, say, exec } = await started(
    t,
    {},
    program((_stream, chunk) => {
      seen += String(chunk);
    }),
  );
  for (const byte of [0, 0, 0, 9, 0x4f, 0, 0, 0, 5, 0x61, 0x62, 0x63, 0x64]) {
    stdout.write(Buffer.from([byte]));
    await new Promise(setImmediate);
  }
  say('X', 5, EXITED);
  await exec.ended;
  t.equal(seen, 'abcd');
});

t.test('stdin-confirmed-before-it-was-sent: is nonsense', async (t) => {
  const { agent, say } = await started(t);
  say('i', 5, Buffer.from([0xff, 0xff, 0xff, 0xff]));
  t.equal(await agent.ended, 'its agent spoke nonsense');
});

/** A program that has a process and has not begun. */
async function held(t: Test) {
  const gate = deferred();
  const seen: string[] = [];
  const fake = fakeAgent(t);
  const exec = program(
    (_stream, chunk) => void seen.push(String(chunk)),
    'input',
    () => gate.promise,
  );
  fake.agent.run(exec);
  fake.say('N', 5, { keeper: 3 });
  await fake.wasTold('r');
  return { ...fake, exec, seen, begin: gate.resolve };
}

t.test('end-before-the-beginning: costs the sandbox, and not the service', async (t) => {
  const { agent, say, exec } = await held(t);
  say('X', 5, EXITED);
  t.equal(await agent.ended, 'its agent spoke nonsense');
  t.match(await exec.ended, { how: { kind: 'sandboxDied' }, processesKilled: 0 });
});

t.test('end-while-the-limit-is-set: costs the sandbox, and not the service', async (t) => {
  const limited = deferred();
  const group = {
    ...{ members: () => 0, oomKills: () => 0, remove: async () => {} },
    limitMemory: () => limited.promise,
  };
  const { agent, say, wasTold } = fakeAgent(t, { group });
  const exec = new ProgramExec(
    Buffer.from('{}'),
    1024,
    { stdin: Buffer.alloc(0), stdinOpen: false },
    () => {},
  );
  agent.run(exec);
  say('N', 5, { keeper: 3 });
  await wasTold('r');
  say('X', 5, EXITED);
  t.equal(await agent.ended, 'its agent spoke nonsense');
  limited.resolve();
  t.match(await exec.ended, { how: { kind: 'sandboxDied' } });
});

t.test('output-before-the-beginning: is nobody’s', async (t) => {
  const { say, exec, seen, begin, wasTold } = await held(t);
  for (const type of ['O', 'E']) say(type, 5, 'too soon');
  say('g', 5);
  begin();
  await wasTold('I');
  say('O', 5, 'in time');
  say('X', 5, EXITED);
  await exec.ended;
  t.same(seen, ['in time']);
});

t.test('stdin-taken-before-the-beginning: is nonsense', async (t) => {
  const { agent, say } = await held(t);
  say('i', 5, Buffer.from([0, 0, 0, 1]));
  t.equal(await agent.ended, 'its agent spoke nonsense');
});

t.test(
  'lost-while-it-runs: what is said to be gone is made to be gone, and runs no second time',
  async (t) => {
    const calls: string[] = [];
    const group = {
      ...{ members: () => 3, oomKills: () => 0 },
      kill: async () => void calls.push('kill the group'),
      remove: async () => void calls.push('remove'),
    };
    const { agent, say, exec, told } = await started(t, { group });
    say('n', 5, { error: 'it ended before it was asked for' });
    t.match(await exec.ended, { how: { kind: 'spawnFailed', code: 'EAGAIN' } });
    await until(() => calls.length === 2);
    t.same(calls, ['kill the group', 'remove']);
    say('N', 6, { keeper: 4 });
    await until(() => agent.isBusy === false);
    t.equal(told.filter(({ type }) => type === 'R').length, 1);
  },
);

t.test('lost-again-and-again: a program is not held up for ever', async (t) => {
  const { agent, say, told, wasTold } = fakeAgent(t);
  const exec = program(
    () => {},
    '',
    () => new Promise(() => {}),
  );
  agent.run(exec);
  say('N', 1, { keeper: 3 });
  await wasTold('r');
  for (let id = 1; id < 200; id += 1) say('n', id, { error: 'gone' });
  t.match(await exec.ended, { how: { kind: 'spawnFailed', code: 'EAGAIN' } });
  t.notOk(told.some(({ type }) => type === 'R'));
});

for (const [name, type] of [
  ['helper-nobody-asked-for', 'F'],
  ['confirmation-of-no-helper', 'h'],
  ['end-of-no-helper', 'f'],
] as const) {
  t.test(`${name}: is nonsense`, async (t) => {
    for (const id of [0, 2, 0xffffffff]) {
      const { agent, say } = fakeAgent(t);
      agent.connectHelper();
      say(type, id, Buffer.alloc(4));
      t.equal(await agent.ended, 'its agent spoke nonsense');
    }
  });
}

t.test('former-helper: whatever it says or takes, its successor works on', async (t) => {
  const { agent, say } = fakeAgent(t);
  const closed = new Promise((resolve) => agent.connectHelper().onClosed(resolve));
  say('f', 1);
  await closed;
  const channel = agent.connectHelper();
  const got: string[] = [];
  channel.onMessage((message) => got.push(String(message)));
  for (let round = 0; round < 1000; round += 1) {
    say('h', 1, Buffer.from([0xff, 0xff, 0xff, 0xff]));
    say('F', 1, 'of the dead');
    say('f', 1);
  }
  say('F', 2, 'of the living');
  await until(() => got.length > 0);
  t.same(got, ['of the living']);
});
