import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { generatedFiles } from '../../src/cli/generated.js';
import { ERROR_CODES } from '../../src/errors.js';
import { describeApi } from '../../src/http/openapi.js';
import { buildServer } from '../../src/http/server.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const METHODS = ['get', 'put', 'post', 'patch', 'delete'];

interface Media {
  readonly schema?: unknown;
  readonly example?: unknown;
  readonly examples?: Record<string, { $ref?: string }>;
}

interface Operation {
  readonly operationId?: string;
  readonly summary?: string;
  readonly description?: string;
  readonly tags?: string[];
  readonly requestBody?: { content: Record<string, Media> };
  readonly responses: Record<string, { description: string; content?: Record<string, Media> }>;
}

const files = await generatedFiles(ROOT);
const document = JSON.parse(files.get('openapi/openapi.json')!);
const operations: [string, Operation][] = Object.entries<Record<string, Operation>>(document.paths).flatMap(
  ([path, item]) =>
    METHODS.filter((method) => item[method]).map(
      (method) => [`${method} ${path}`, item[method]!] as [string, Operation],
    ),
);

/** The part of the document that a reference points at. */
function resolve(ref: string): unknown {
  return ref
    .slice(2)
    .split('/')
    .reduce<unknown>((part, name) => (part as Record<string, unknown> | undefined)?.[name], document);
}

function* referencesIn(value: unknown): Generator<string> {
  if (typeof value !== 'object' || value === null) return;
  for (const [key, member] of Object.entries(value)) {
    if (key === '$ref' && typeof member === 'string') yield member;
    else yield* referencesIn(member);
  }
}

t.test('what is generated from the code is committed as it is', async (t) => {
  for (const [path, text] of files) {
    t.ok(
      readFileSync(`${ROOT}${path}`, 'utf8') === text,
      `${path}: run node build/src/cli/main.js openapi --write`,
    );
  }
});

t.test('the document is OpenAPI 3.1 by the official schema', async (t) => {
  const schema = JSON.parse(readFileSync(`${ROOT}test/fixtures/openapi-3.1.schema.json`, 'utf8'));
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  t.ok(ajv.validate(schema, document), ajv.errorsText());
  t.notOk(
    ajv.validate(schema, { ...document, openapi: '3.1.0', paths: { v1: 5 } }),
    'the schema refuses what is wrong',
  );
});

t.test('every component is a JSON Schema that compiles', async (t) => {
  for (const [name, schema] of Object.entries<object>(document.components.schemas)) {
    const ajv = new Ajv2020({ strict: false, validateFormats: false });
    t.doesNotThrow(() => ajv.compile({ ...schema, components: document.components }), name);
  }
});

t.test('every reference leads somewhere', async (t) => {
  const references = new Set(referencesIn(document));
  t.ok(references.size > 20);
  t.strictSame(
    [...references].filter((ref) => !ref.startsWith('#/') || resolve(ref) === undefined),
    [],
  );
});

t.test('every operation has its own id, a summary, a description and one known tag', async (t) => {
  const tags = document.tags.map(({ name }: { name: string }) => name);
  const ids = operations.map(([, { operationId }]) => operationId);
  t.equal(new Set(ids).size, operations.length);
  for (const [name, { operationId, summary, description, tags: own }] of operations) {
    t.match(operationId, /^[a-z][A-Za-z]+$/, name);
    t.ok(summary && description, name);
    t.ok(own?.length === 1 && tags.includes(own[0]), name);
  }
});

t.test('every operation says how it succeeds and how it is refused', async (t) => {
  for (const [name, { responses }] of operations) {
    const statuses = Object.keys(responses);
    t.ok(
      statuses.some((status) => status.startsWith('2')),
      `${name}: a success`,
    );
    t.ok(
      statuses.some((status) => status.startsWith('4')),
      `${name}: a refusal`,
    );
    for (const [status, { description, content }] of Object.entries(responses)) {
      t.not(description, 'Default Response', `${name} ${status}`);
      if (Number(status) >= 400) t.ok(content?.['application/problem+json'], `${name} ${status}: a problem`);
    }
  }
});

t.test('bodies and problems have examples', async (t) => {
  for (const [name, { requestBody, responses }] of operations) {
    const json = requestBody?.content['application/json'];
    if (json) t.ok(json.example ?? json.examples, `${name}: its body`);
    for (const [status, { content }] of Object.entries(responses)) {
      const problem = content?.['application/problem+json'];
      if (problem) t.ok(Object.keys(problem.examples ?? {}).length > 0, `${name} ${status}`);
    }
  }
});

t.test('every error code is an example, and each one is a problem document', async (t) => {
  t.strictSame(Object.keys(document.components.examples).sort(), Object.keys(ERROR_CODES).sort());
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  for (const [code, { value }] of Object.entries<{ value: { code: string } }>(document.components.examples)) {
    t.ok(ajv.validate(document.components.schemas.Problem, value), `${code}: ${ajv.errorsText()}`);
    t.equal(value.code, code);
  }
});

t.test('examples of components keep their own schema', async (t) => {
  for (const [name, schema] of Object.entries<{ examples?: unknown[] }>(document.components.schemas)) {
    const ajv = new Ajv2020({ strict: false, validateFormats: false });
    const validate = ajv.compile({ ...schema, components: document.components });
    for (const example of schema.examples ?? [])
      t.ok(validate(example), `${name}: ${ajv.errorsText(validate.errors)}`);
  }
});

t.test(
  'replies name their headers and may get members, and no member of a request has a default',
  async (t) => {
    const text = (value: unknown) => JSON.stringify(value);
    for (const [name, { requestBody, responses }] of operations) {
      for (const [status, response] of Object.entries(responses)) {
        const { headers = {} } = response as { headers?: Record<string, unknown> };
        t.ok(headers['X-Request-Id'], `${name} ${status}`);
        if (status === '429' || status === '503') t.ok(headers['Retry-After'], `${name} ${status}`);
      }
      t.notMatch(text(requestBody ?? {}), /"default":/, name);
    }
    const { Session, Task, CreateSession, FsReadArguments } = document.components.schemas;
    for (const reply of [Session, Task]) t.notMatch(text(reply), /"additionalProperties":false/);
    for (const request of [CreateSession, FsReadArguments]) {
      t.equal(request.additionalProperties, false, 'what is misspelt is an error');
      t.notMatch(text(request.properties), /"default":/);
    }
    t.match(document.paths['/v1/sessions'].post.responses['201'].headers, { Location: {} });
    const app = server(t);
    const body = { type: 'object', additionalProperties: false, properties: { a: { type: 'string' } } };
    app.post('/closed', { schema: { body } }, async () => 'taken');
    await app.inject('/openapi.json');
    const refused = await app.inject({ method: 'POST', url: '/closed', payload: { b: 1 } });
    t.equal(refused.statusCode, 400, 'the document is not what requests are checked with');
  },
);

t.test('the table in docs/api.md has every error code and no other', async (t) => {
  const page = readFileSync(`${ROOT}docs/api.md`, 'utf8');
  const table = page.slice(page.indexOf('<!-- errors -->'), page.indexOf('<!-- /errors -->'));
  const documented = [...table.matchAll(/^\| `([A-Z_]+)` \|/gm)].map(([, code]) => code);
  t.strictSame(documented.sort(), Object.keys(ERROR_CODES).sort());
});

function server(t: Test) {
  const app = buildServer({ jsonBodyBytes: 1024, log: pino({ level: 'silent' }) });
  describeApi(app);
  t.teardown(() => app.close());
  return app;
}

t.test('/docs is a page that reads the document, and brings what it needs along', async (t) => {
  const app = server(t);
  const page = await app.inject({ url: '/docs/', headers: { 'x-request-id': 'the-reader' } });
  t.equal(page.statusCode, 200);
  t.match(page.headers, { 'content-type': /^text\/html/, 'x-request-id': 'the-reader' });
  const parts = [...page.payload.matchAll(/(?:href|src)="([^":]+\.(?:css|js))"/g)].map(([, part]) => part!);
  t.ok(parts.length >= 4, parts.join(' '));
  for (const part of parts) {
    const { pathname } = new URL(part, 'http://x/docs/');
    const { statusCode, headers } = await app.inject(pathname);
    t.equal(statusCode, 200, pathname);
    t.match(headers['content-type'], pathname.endsWith('.css') ? /css/ : /javascript/);
    const again = await app.inject({
      url: pathname,
      headers: { 'if-none-match': String(headers.etag ?? '') },
    });
    t.equal(again.statusCode, headers.etag === undefined ? 200 : 304);
  }
  t.strictSame((await app.inject('/docs/json')).json(), (await app.inject('/openapi.json')).json());
});

t.test('what is not there below /docs is a problem like any other', async (t) => {
  const app = server(t);
  for (const path of ['/docs/none', '/docs/static/none.js', '/docs/static/%2e%2e/package.json']) {
    const reply = await app.inject(path);
    t.match(reply.json(), { status: 404, code: 'NOT_FOUND' }, path);
  }
  t.equal((await app.inject({ method: 'POST', url: '/docs/' })).statusCode, 405);
});

t.test('a path that leads out of /docs is answered by nothing', async (t) => {
  // Sent as it stands: clients, and `inject`, make such a path straight before.
  const app = server(t);
  app.get('/v1/some', { schema: {} }, async () => 'some');
  const { port } = new URL(await app.listen({ port: 0, host: '127.0.0.1' }));
  for (const path of ['/docs/../v1/some', '/docs/%2e%2e/v1/some', '/docs/static/../../v1/some']) {
    const asked = request({ host: '127.0.0.1', port, path }).end();
    const [reply] = (await once(asked, 'response')) as [IncomingMessage];
    t.equal(reply.statusCode, 404, path);
    t.match(JSON.parse(await text(reply)), { status: 404, code: 'NOT_FOUND' }, path);
  }
});
