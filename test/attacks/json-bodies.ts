// Bodies that are made to hurt whoever parses them.
import t from 'tap';
import type { Task } from '../../src/tasks/schema.js';
import { residentBytes } from '../helpers/processes.js';
import { startService } from '../helpers/world.js';

const MIB = 1024 * 1024;

t.test('JSON bombs', async (t) => {
  const world = await startService(t);
  const { sessionId } = await world.session();
  const tasks = `/v1/sessions/${sessionId}/tasks`;
  const post = async (path: string, body: string | Buffer, headers: Record<string, string> = {}) => {
    const reply = await fetch(world.url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: body as never,
    });
    const text = await reply.text();
    return { status: reply.status, text, json: text.startsWith('{') ? JSON.parse(text) : null };
  };
  const isFine = async () =>
    (await world.run(sessionId, 'echo', { message: 'fine' })).outputs?.message === 'fine';

  for (const [attack, body] of [
    ['depth-of-arrays', `{"metadata": ${'['.repeat(1_000_000)}${']'.repeat(1_000_000)}}`],
    ['depth-of-objects', `{"metadata": ${'{"a":'.repeat(500_000)}1${'}'.repeat(500_000)}}`],
    ['depth-that-never-closes', '['.repeat(4_000_000)],
    ['a-million-members', `{${Array.from({ length: 300_000 }, (_, i) => `"m${i}":${i}`).join(',')}}`],
    ['one-enormous-name', `{"${'n'.repeat(7 * MIB)}": 1}`],
    ['one-enormous-number', `{"idleTimeoutSeconds": ${'9'.repeat(7 * MIB)}}`],
    ['numbers-beyond-numbers', '{"idleTimeoutSeconds": 1e999}'],
    ['a-number-that-is-rounded', '{"limits": {"memoryMb": 9007199254740993}}'],
    ['a-fraction', '{"limits": {"memoryMb": 512.5}}'],
    ['nothing-but-nul', '\u0000'],
    ['two-documents', '{}{}'],
    ['a-string', '"{}"'],
    ['null', 'null'],
    ['not-a-number', '{"idleTimeoutSeconds": NaN}'],
    ['a-comment', '{} // {"env": {}}'],
  ] as const) {
    await t.test(attack, async (t) => {
      const before = residentBytes(process.pid);
      const { status, text } = await post('/v1/sessions', body);
      t.equal(status, 400, text.slice(0, 500));
      t.ok(text.length < 20_000, 'the answer is not a bomb itself');
      t.ok(residentBytes(process.pid) - before < 400 * MIB);
      t.ok(await isFine());
    });
  }

  await t.test('bigger-than-allowed', async (t) => {
    t.equal((await post('/v1/sessions', Buffer.alloc(9 * MIB, ' '))).status, 413);
    t.ok(await isFine());
  });

  await t.test('twice-the-same-member: what is shown is what runs', async (t) => {
    const { status, json } = await post(
      `${tasks}?wait=30`,
      '{"tool": "echo", "tool": "run.python", "arguments": {"message": "a"}, "arguments": {"code": "print(1)", "code": "print(2)"}}',
    );
    t.equal(status, 200);
    t.match(json as Task, {
      tool: 'run.python',
      arguments: { code: 'print(2)' },
      outputs: { stdout: '2\n' },
    });
  });

  for (const [attack, body, headers] of [
    [
      'utf-16',
      Buffer.from('{"message": "a"}', 'utf16le'),
      { 'content-type': 'application/json; charset=utf-16' },
    ],
    [
      'compressed',
      Buffer.from('1f8b0800000000000003abae050043bfa6a302000000', 'hex'),
      { 'content-encoding': 'gzip' },
    ],
    ['a-form', 'tool=echo', { 'content-type': 'application/x-www-form-urlencoded' }],
    ['text', '{}', { 'content-type': 'text/plain' }],
    ['two-types', '{}', { 'content-type': 'application/json, text/plain' }],
  ] as const) {
    await t.test(`not-json: ${attack}`, async (t) => {
      const { status, text } = await post('/v1/sessions', body, headers);
      t.ok([400, 415].includes(status), `${status} ${text}`);
    });
  }

  await t.test('half-characters: half a surrogate pair harms nobody', async (t) => {
    const { status, json } = await post(
      `${tasks}?wait=30`,
      '{"tool": "echo", "arguments": {"message": "\\ud800 \\udc00"}}',
    );
    t.ok(status === 400 || status === 200, String(status));
    if (status === 200) t.equal((json as Task).status, 'success');
    for (const code of ['print("\\ud800")', 'x = "\\udfff"; print(len(x))']) {
      const task = await post(
        `${tasks}?wait=30`,
        JSON.stringify({ tool: 'run.python', arguments: { code } }).replace(/\\\\u/g, '\\u'),
      );
      t.ok([200, 400].includes(task.status), task.text);
    }
    t.ok(await isFine());
  });

  await t.test('nul-in-strings: what the kernel would cut off is refused, and never cut off', async (t) => {
    for (const [tool, args] of [
      ['run.command', { command: ['echo', 'a\u0000b'] }],
      ['run.command', { command: 'echo a\u0000b' }],
      ['run.python', { code: 'print(1)', env: { A: 'b\u0000c' } }],
      ['run.python', { code: 'print(1)', args: ['a\u0000b'] }],
      ['run.python', { code: 'print(1)', cwd: '.\u0000/etc' }],
      ['run.python', { file: 'a.py\u0000.txt' }],
      ['fs.write', { path: 'a\u0000b', contents: '' }],
    ] as const) {
      const reply = await world.call<Task>('POST', `${tasks}?wait=30`, { tool, arguments: args });
      const shown = `${tool} ${JSON.stringify(args)}: ${reply.status} ${JSON.stringify(reply.body)}`;
      if (reply.status === 400) continue;
      const { status, outputs } = reply.body;
      if (status === 'success') t.match(outputs?.stdout ?? '', /^(a.b|1)\n$/, shown);
      else t.equal(status, 'failure', shown);
    }
    t.ok(await isFine());
  });
});
