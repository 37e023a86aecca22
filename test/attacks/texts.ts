// Texts that no encoding has, or that end early for SQLite and the kernel: what is kept is what was sent, or it is refused.
import t from 'tap';
import { openSocket } from '../helpers/event-client.js';
import { startService } from '../helpers/world.js';

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
type Schema = { [name: string]: unknown };

interface Reply {
  readonly status: number;
  readonly body: {
    readonly code?: string;
    readonly detail?: string;
    readonly errors?: readonly { where: string; rule: string }[];
    readonly [name: string]: unknown;
  };
}

/** Where NUL is a character like others: contents, and what a program reads. */
const DATA = new Set(['code', 'stdin', 'contents', 'message']);

/** In JSON.stringify's spelling, which writes whole pairs as they are. */
const HALF_IN_JSON = /\\ud[89a-f]/;
const spelled = (text: string) =>
  text.replace(/\p{Surrogate}/gu, (half) => `\\u${half.charCodeAt(0).toString(16)}`);

interface Operation {
  readonly method: string;
  readonly path: string;
  readonly schema: Schema;
}

function operationsOf(document: Schema): Operation[] {
  const paths = document.paths as Record<string, Record<string, { requestBody?: { content: Schema } }>>;
  return Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).flatMap(([method, { requestBody }]) => {
      const json = requestBody?.content['application/json'] as { schema: Schema } | undefined;
      return json ? [{ method: method.toUpperCase(), path, schema: json.schema }] : [];
    }),
  );
}

function resolved(schema: Schema, document: Schema): Schema {
  const { $ref } = schema;
  if (typeof $ref !== 'string') return schema;
  const found = $ref
    .slice(2)
    .split('/')
    .reduce<unknown>((at, name) => (at as Schema)[name], document);
  return resolved(found as Schema, document);
}

/** Strings that a body may hold and whose schema lets a NUL pass. */
function* openStrings(schema: Schema, document: Schema, name: string, depth = 0): Generator<string> {
  const { type, properties, items, patternProperties, ...rest } = resolved(schema, document);
  if (depth > 12) return;
  const isBound = rest.enum ?? rest.const ?? rest.format ?? rest.pattern;
  if (type === 'string' && isBound === undefined && !DATA.has(name)) yield name;
  if (typeof rest.pattern === 'string' && new RegExp(rest.pattern, 'u').test('a\0b')) yield name;
  for (const [pattern, value] of Object.entries((patternProperties ?? {}) as Schema)) {
    if (new RegExp(pattern, 'u').test('a\0b')) yield `a name in ${name}`;
    yield* openStrings(value as Schema, document, name, depth + 1);
  }
  for (const [each, value] of Object.entries((properties ?? {}) as Schema)) {
    yield* openStrings(value as Schema, document, each, depth + 1);
  }
  const parts = [items, ...['anyOf', 'oneOf', 'allOf'].flatMap((word) => rest[word] ?? [])];
  for (const each of parts) if (each) yield* openStrings(each as Schema, document, name, depth + 1);
}

/** A body with another text in the place of each string, and of each name that clients choose. */
function* changed(value: Json, change: (text: string) => string, at = '/body'): Generator<[string, Json]> {
  if (typeof value === 'string') yield [at, change(value)];
  if (typeof value !== 'object' || value === null) return;
  for (const [name, member] of Object.entries(value)) {
    const put = (with_: Json): Json =>
      Array.isArray(value)
        ? value.map((each, i) => (String(i) === name ? with_ : each))
        : { ...value, [name]: with_ };
    for (const [place, other] of changed(member, change, `${at}/${name}`)) yield [place, put(other)];
    if (!Array.isArray(value)) yield [`${at}/${change(name)}`, { ...value, [change(name)]: member }];
  }
}

t.test('texts', async (t) => {
  const world = await startService(t);
  const { sessionId } = await world.session();
  const send = async (method: string, path: string, body: Json | Buffer, headers = {}): Promise<Reply> => {
    const reply = await fetch(world.url + path, {
      method,
      headers: { 'content-type': 'application/json', ...headers },
      body: Buffer.isBuffer(body) ? (body as never) : JSON.stringify(body),
    });
    const text = await reply.text();
    if (HALF_IN_JSON.test(text.replaceAll('\\\\', '')))
      t.fail(`the reply holds half a pair itself: ${text.slice(0, 500)}`);
    return { status: reply.status, body: JSON.parse(text) as Reply['body'] };
  };
  const { body: document } = await world.call<Schema>('GET', '/openapi.json');
  const operations = operationsOf(document);

  t.test(
    'half a surrogate pair is refused in every string and name of every body, with its place',
    async (t) => {
      let tried = 0;
      for (const { method, path, schema } of operations) {
        const examples = [
          resolved(schema, document),
          ...((resolved(schema, document).oneOf as Schema[]) ?? []),
        ].flatMap((each) => (resolved(each, document).examples as Json[] | undefined) ?? []);
        const url = path.replaceAll(/\{\w+\}/g, 'not-there');
        for (const half of ['\ud83d', '\ude00', '\ude00\ud83d']) {
          for (const [place, body] of examples.flatMap((each) => [...changed(each, (text) => text + half)])) {
            tried += 1;
            const { status, body: problem } = await send(method, url, body);
            const where = problem.errors?.map((each) => each.where);
            if (status !== 400 || !where?.includes(spelled(place)))
              t.fail(`${method} ${path} ${place}: ${status} ${where}`);
          }
        }
      }
      t.ok(tried > 60, `${tried} were tried`);
      const whole = await send('POST', `/v1/sessions/${sessionId}/tasks?wait=30`, {
        tool: 'echo',
        arguments: { message: 'whole \ud83d\ude00 and \\ud83d' },
      });
      t.match(whole.body, { outputs: { message: 'whole \ud83d\ude00 and \\ud83d' } });
      const escaped = Buffer.from(`{"tool": "echo", "arguments": {"message": "\\ud83d\\ude00 \\\\ud83d"}}`);
      t.match((await send('POST', `/v1/sessions/${sessionId}/tasks?wait=30`, escaped)).body, {
        outputs: { message: '\ud83d\ude00 \\ud83d' },
      });
    },
  );

  t.test('what is shown shortened is not cut within a character', async (t) => {
    for (const before of ['', 'x']) {
      const text = before + '\ud83d\ude00'.repeat(5000);
      const { body } = await send('POST', `/v1/sessions/${sessionId}/tasks?wait=30`, {
        tool: 'echo',
        arguments: { message: text },
      });
      t.match(body, { outputs: { message: text }, arguments: { message: /^x?(\ud83d\ude00)+…$/u } });
      t.equal((await send('POST', '/v1/sessions', { userId: text })).status, 400);
      t.equal((await send('POST', '/v1/sessions', { [text]: 1 })).status, 400);
      t.equal((await send('POST', '/v1/sessions', { language: text })).status, 400);
    }
  });

  t.test('no text that is kept and compared may hold NUL', async (t) => {
    for (const { method, path, schema } of operations) {
      t.same([...new Set(openStrings(schema, document, ''))], [], `${method} ${path}`);
    }
    for (const [path, body, place] of [
      ['/v1/sessions', { userId: 'a\0b' }, '/body/userId'],
      ['/v1/sessions', { workspaceId: '\0' }, '/body/workspaceId'],
      ['/v1/sessions', { metadata: { a: 'b\0' } }, '/body/metadata/a'],
      ['/v1/sessions', { network: { mode: 'allowlist', hosts: ['a\0b'] } }, '/body/network/hosts/0'],
      [`/v1/sessions/${sessionId}/checkpoints`, { name: 'a\0b' }, '/body/name'],
      ['/v1/tasks/not-there/cancel', { reason: 'a\0b' }, '/body/reason'],
    ] as const) {
      const { status, body: problem } = await send('POST', path, body as unknown as Json);
      t.equal(status, 400, JSON.stringify(body));
      t.match(problem.errors, [{ where: place, rule: 'must not contain a NUL character' }]);
    }
    const data = await send('POST', `/v1/sessions/${sessionId}/tasks?wait=30`, {
      tool: 'run.python',
      arguments: { code: 'import sys; print(ascii(sys.stdin.read()))', stdin: 'a\0b' },
    });
    t.match(data.body, { outputs: { stdout: "'a\\x00b'\n" } }, 'what a program reads may');
  });

  t.test('bytes that are no UTF-8 are refused, in whatever place', async (t) => {
    for (const bytes of ['ff', 'c3', 'c328', 'eda0bd', 'f8888080', 'c080', '80'].map((hex) =>
      Buffer.from(hex, 'hex'),
    )) {
      const body = (before: string, after: string) =>
        Buffer.concat([Buffer.from(before), bytes, Buffer.from(after)]);
      for (const bad of [
        body('{"userId": "grün ', '"}'),
        body('{"', '": 1}'),
        body('', '{}'),
        body('{}', ''),
      ]) {
        const { status, body: problem } = await send('POST', '/v1/sessions', bad);
        t.equal(status, 400);
        t.match(problem.errors, [
          { where: '/body', rule: /must be valid UTF-8; what begins at byte \d+ is not/ },
        ]);
      }
    }
    const { body: problem } = await send('POST', '/v1/sessions', Buffer.from('{"userId": "\xe9"}', 'latin1'));
    t.match(problem.errors?.[0]?.rule, /byte 12 /);
    const large = Buffer.from(
      JSON.stringify({ tool: 'echo', arguments: { message: 'ü'.repeat(1_000_000) } }),
    );
    const reply = await send('POST', `/v1/sessions/${sessionId}/tasks?wait=30`, large);
    t.match(reply.body, { status: 'success' }, 'characters may lie in two pieces of a body');
  });

  t.test('JSON is UTF-8: another charset is a 415, and no charset is asked for', async (t) => {
    for (const [parameters, expected] of [
      ['; charset=iso-8859-1', 415],
      [';charset=UTF-16', 415],
      ['; charset="latin1"', 415],
      ['; CHARSET=windows-1252', 415],
      ['; charset=utf-8; charset=utf-16', 415],
      ['; charset=', 415],
      ['; charset=utf-8', 404],
      ['; charset="UTF-8"', 404],
      [';charset=utf8', 404],
      ['; profile=x', 404],
      ['', 404],
    ] as const) {
      const type = `application/json${parameters}`;
      const { status, body } = await send('POST', '/v1/tasks/not-there/cancel', {}, { 'content-type': type });
      t.equal(status, expected, type);
      if (status === 415) t.match(body, { code: 'UNSUPPORTED_MEDIA_TYPE' });
    }
  });

  t.test('a message of a socket is held to the same', async (t) => {
    const { taskId } = await world.start(sessionId, 'run.python', {
      code: 'import sys; print(ascii(sys.stdin.read()))',
      stdinOpen: true,
    });
    const client = openSocket(t, `${world.url.replace('http', 'ws')}/v1/tasks/${taskId}/events`);
    client.send(`{"op": "stdin", "taskId": "${taskId}", "text": "half \\ud83d"}`);
    t.match(await client.message('stream.error'), {
      problem: { errors: [{ where: '/text', rule: /lone surrogates/ }] },
    });
    client.send({ op: 'stdin', taskId, text: 'whole \ud83d\ude00 \0', close: true });
    const task = await world.call('GET', `/v1/tasks/${taskId}?wait=30`);
    t.match(task.body, { outputs: { stdout: "'whole \\U0001f600 \\x00'\n" } });
  });
});
