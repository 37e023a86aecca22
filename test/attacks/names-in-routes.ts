// Names that are meant to be more than names: in every place of every route where a client says one.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { rawRequest } from '../helpers/raw-http.js';
import { startService } from '../helpers/world.js';

const DOCUMENT = fileURLToPath(new URL('../../../openapi/openapi.json', import.meta.url));
const paths: Record<string, Record<string, unknown>> = JSON.parse(readFileSync(DOCUMENT, 'utf8')).paths;

const NAMES = {
  'encoded-slashes': '..%2f..%2f..%2fetc%2fpasswd',
  'twice-encoded': '%252e%252e%252fetc',
  'dot-dot': '..',
  'encoded-dot-dot': '%2e%2e',
  backslashes: '..%5c..%5cetc',
  nul: 'ses_%00',
  'line-breaks': 'a%0d%0aX-Injected:%20yes',
  overlong: 'a'.repeat(129),
  'very-long': 'a'.repeat(10_000),
  'no-utf8': '%ff%fe',
  'overlong-utf8': '%c0%ae%c0%ae',
  'half-an-escape': 'a%2',
  'full-width-letters': '%EF%BD%93%EF%BD%85%EF%BD%93',
  'right-to-left': 'a%E2%80%AEb',
  'leading-dash': '-rf',
  proto: '__proto__',
  wildcard: '*',
  quotes: "'%20or%201=1--",
  'path-parameter': ';a=b',
} as const;

t.test('names in every route: each is refused as a request, and none is a fault of ours', async (t) => {
  const world = await startService(t);
  const targets = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods)
      .filter((method) => path.includes('{') && method !== 'parameters')
      .map((method) => ({ path, method: method.toUpperCase() })),
  );
  t.ok(targets.length > 10);
  for (const [attack, name] of Object.entries(NAMES)) {
    const wrong: string[] = [];
    for (const { path, method } of targets) {
      const place = path.replace(/\{\w+\}/, name).replace(/\{\w+\}/, 'stdout');
      const reply = await rawRequest(
        world.url,
        [
          `${method} ${place} HTTP/1.1`,
          `Host: ${new URL(world.url).host}`,
          'Connection: close',
          'Content-Type: application/json',
          'Content-Length: 2',
          '',
        ].slice(0, -1),
        '{}',
      );
      const isRefused = reply.status >= 400 && reply.status < 500;
      const isProblem = /^content-type: application\/problem\+json/im.test(reply.head);
      const tells = /x-injected: yes\r|\/src\/|\bat .*\.js:\d|root:x:0/i.test(reply.head + reply.body);
      if (!isRefused || !isProblem || tells) wrong.push(`${method} ${path}: ${reply.status} ${reply.body}`);
    }
    t.same(wrong, [], attack);
  }
});

t.test('names-of-prototypes: what every object has is a name like any other', async (t) => {
  const world = await startService(t);
  const inherited = ['constructor', 'toString', 'hasOwnProperty', 'valueOf', 'isPrototypeOf'];
  const labels = Object.fromEntries(inherited.map((name) => [name, `mine: ${name}`]));
  for (const name of inherited) t.equal((await world.call('GET', `/v1/sessions/${name}`)).status, 404, name);
  for (const name of inherited) t.equal((await world.call('GET', `/v1/tools/${name}`)).status, 404, name);
  for (const sessionId of inherited) {
    const session = await world.session({ sessionId, metadata: labels, env: labels });
    t.equal(session.sessionId, sessionId);
    t.same(session.metadata, labels);
  }
  const filtered = await world.call<{ items: unknown[] }>(
    'GET',
    `/v1/sessions?metadata.constructor=${encodeURIComponent('mine: constructor')}`,
  );
  t.equal(filtered.body.items.length, inherited.length);
  const task = await world.python(
    'constructor',
    'import os; print(os.environ["constructor"], os.environ["toString"])',
    {
      taskId: 'valueOf',
      metadata: labels,
    },
  );
  t.equal(task.outputs?.stdout, 'mine: constructor mine: toString\n');
  t.same(task.metadata, labels);
  for (const tool of ['constructor', 'toString', '__proto__', 'hasOwnProperty']) {
    const reply = await world.call('POST', '/v1/sessions/constructor/tasks', { tool, arguments: {} });
    t.match(reply, { status: 400, body: { code: 'UNKNOWN_TOOL' } }, tool);
  }
  t.equal(({} as Record<string, unknown>).mine, undefined);
});

t.test('proto-in-bodies-and-queries: a __proto__ is refused wherever it stands', async (t) => {
  const world = await startService(t);
  const { sessionId } = await world.session();
  const host = `Host: ${new URL(world.url).host}`;
  for (const [path, body] of [
    ['/v1/sessions', '{"__proto__": {"admin": true}}'],
    ['/v1/sessions', '{"metadata": {"__proto__": {"a": "b"}}}'],
    ['/v1/sessions', '{"env": {"__proto__": "x"}}'],
    ['/v1/sessions', '{"metadata": {"\\u005f_proto__": "b"}}'],
    ['/v1/sessions', '{"limits": {"constructor": {"prototype": {"memoryMb": 1}}}}'],
    [`/v1/sessions/${sessionId}/tasks`, '{"tool": "echo", "arguments": {"message": "a", "__proto__": {}}}'],
    [`/v1/sessions/${sessionId}/tasks`, '{"tool": "echo", "arguments": {"__proto__": {"message": "a"}}}'],
  ] as const) {
    const reply = await rawRequest(
      world.url,
      [
        `POST ${path} HTTP/1.1`,
        host,
        'Connection: close',
        'Content-Type: application/json',
        `Content-Length: ${body.length}`,
      ],
      body,
    );
    t.equal(reply.status, 400, `${body}: ${reply.body}`);
  }
  for (const query of [
    '__proto__=1',
    'metadata.__proto__=1',
    'constructor=1',
    'limit[]=1',
    'limit=1&limit=2',
    'cursor=..%2f..',
  ]) {
    const { status } = await world.call('GET', `/v1/sessions?${query}`);
    t.ok(status === 400 || status === 200, `${query}: ${status}`);
  }
  t.equal(({} as Record<string, unknown>).admin, undefined);
  t.equal((await world.call('GET', '/v1/sessions?limit=1&limit=2')).status, 400);
});

t.test('paths-out-of-the-workspace: every file tool refuses every spelling', async (t) => {
  const world = await startService(t);
  const { sessionId } = await world.session();
  await world.run(sessionId, 'run.command', {
    command: 'ln -s / root; ln -s /etc/passwd passwd; ln -s .. up; mkdir inside',
  });
  const outside = [
    '/etc/passwd',
    '../x',
    'inside/../../x',
    'root/etc/passwd',
    'up/etc/passwd',
    'passwd',
    '/workspace/../etc/passwd',
    '/proc/self/root/etc/passwd',
    './/..//x',
  ];
  for (const path of outside) {
    for (const [tool, args] of [
      ['fs.read', { path }],
      ['fs.write', { path, contents: 'x' }],
      ['fs.list', { path }],
      ['fs.mkdir', { path: `${path}/new` }],
      ['fs.move', { path: 'inside', to: `${path}/new` }],
      ['fs.move', { path, to: 'stolen' }],
    ] as const) {
      // A symlink itself is in the workspace, and may be moved and replaced; what it leads to is not touched.
      if (path === 'passwd' && (tool === 'fs.write' || (tool === 'fs.move' && args.path === path))) continue;
      const { status, ending } = await world.run(sessionId, tool, args);
      t.match(
        { status, code: ending?.code },
        { status: 'failure', code: /PATH_OUTSIDE_WORKSPACE|FILE_NOT_FOUND|NOT_A_DIRECTORY|NOT_A_FILE/ },
        `${tool} ${path}: ${JSON.stringify(ending)}`,
      );
    }
  }
  for (const path of ['a\u0000b', '']) {
    const reply = await world.call('POST', `/v1/sessions/${sessionId}/tasks?wait=30`, {
      tool: 'fs.read',
      arguments: { path },
    });
    t.ok(
      reply.status === 400 || (reply.body as { status?: string }).status === 'failure',
      JSON.stringify(reply.body),
    );
  }
  for (const path of ['..data', '-rf', '--help', '$(id)', '`id`', 'a\nb', ' ', '‮gpj.exe', '...']) {
    await world.writeFile(sessionId, path, path);
    t.equal(await world.readFile(sessionId, path), path, 'a strange name is a name');
  }
});
