import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { checkpointRoutes } from '../../src/checkpoints/routes.js';
import { buildServer } from '../../src/http/server.js';
import { addSharedSchemas } from '../../src/http/shared-schemas.js';
import { checkpointBench, principal } from '../helpers/checkpoints.js';
import { silent } from '../helpers/store.js';

async function routes(t: Test) {
  const bench = await checkpointBench(t);
  const app = buildServer({ jsonBodyBytes: 1_000_000, log: silent, checkReplies: true });
  t.teardown(() => app.close());
  app.addHook('onRequest', async (request) => {
    Object.assign(request, { principal });
  });
  addSharedSchemas(app);
  const sessions = { get: () => Promise.reject(new Error('not wanted here')) };
  await app.register(checkpointRoutes, { prefix: '/v1', checkpoints: bench.checkpoints, sessions });
  return { app, ...bench };
}

t.test('a checkpoint is made, listed, read and deleted', async (t) => {
  const { app, session } = await routes(t);
  const { live, root } = await session();
  writeFileSync(join(root, 'a'), 'a');
  const url = `/v1/sessions/${live.row.session_id}/checkpoints`;
  const made = await app.inject({ method: 'POST', url, payload: { name: 'first' } });
  t.equal(made.statusCode, 201, made.body);
  const { checkpointId } = made.json();
  t.equal(made.headers.location, `/v1/checkpoints/${checkpointId}`);
  t.equal((await app.inject({ method: 'POST', url })).statusCode, 201, 'without a body, too');
  const page = (await app.inject(`${url}?limit=1`)).json();
  t.equal(page.items.length, 1);
  const rest = (await app.inject(`${url}?limit=1&cursor=${page.nextCursor}`)).json();
  t.same(rest.items, [made.json()]);
  const one = `/v1/checkpoints/${checkpointId}`;
  t.same((await app.inject(one)).json(), made.json());
  t.equal((await app.inject({ method: 'DELETE', url: one })).statusCode, 204);
  t.match((await app.inject(one)).json(), { code: 'CHECKPOINT_NOT_FOUND' });
  t.match((await app.inject({ method: 'DELETE', url: one })).json(), { code: 'CHECKPOINT_NOT_FOUND' });
});

t.test('all checkpoints can be listed, also when the record of their session is gone', async (t) => {
  const { app, session, store } = await routes(t);
  const made: string[] = [];
  for (const session_id of ['a', 'b', 'a']) {
    if (made.length < 2) await session({ session_id });
    const reply = await app.inject({ method: 'POST', url: `/v1/sessions/${session_id}/checkpoints` });
    made.unshift(reply.json().checkpointId);
  }
  await store.write([{ sql: 'delete from sessions', parameters: [] }]);
  await store.write([
    { sql: "update checkpoints set tenant = 'other' where session_id = 'b'", parameters: [] },
  ]);
  const idsOf = async (url: string) => {
    const { items, nextCursor } = (await app.inject(url)).json();
    return { ids: items.map((each: { checkpointId: string }) => each.checkpointId), nextCursor };
  };
  const first = await idsOf('/v1/checkpoints?limit=1');
  t.same(first.ids, made.slice(0, 1));
  const second = await idsOf(`/v1/checkpoints?limit=1&cursor=${first.nextCursor}`);
  t.same(second.ids, made.slice(2), 'none of another tenant');
  t.same((await idsOf('/v1/checkpoints?sessionId=a')).ids, [made[0], made[2]]);
  t.same((await idsOf('/v1/checkpoints?sessionId=b')).ids, []);
  t.same((await idsOf('/v1/checkpoints?createdAfter=2999-01-01T00:00:00Z')).ids, []);
  for (const url of ['/v1/checkpoints', '/v1/sessions/a/checkpoints']) {
    const refused = await app.inject(`${url}?metadata.team=a`);
    t.equal(refused.statusCode, 400, `${url}: checkpoints have no labels`);
    t.match(refused.body, /metadata\.team/);
  }
});

t.test('the archive is sent whole or in ranges, with its hash', async (t) => {
  const { app, session, archives } = await routes(t);
  const { live, root } = await session();
  writeFileSync(join(root, 'a'), 'a');
  const url = `/v1/sessions/${live.row.session_id}/checkpoints`;
  const { checkpointId, sha256 } = (await app.inject({ method: 'POST', url })).json();
  const bytes = readFileSync(join(archives, `${checkpointId}.tar.gz`));
  const archive = `/v1/checkpoints/${checkpointId}/archive`;
  const whole = await app.inject(archive);
  t.equal(whole.statusCode, 200);
  t.ok(whole.rawPayload.equals(bytes));
  t.match(whole.headers, {
    'content-type': 'application/gzip',
    'content-length': String(bytes.length),
    'content-disposition': `attachment; filename="${checkpointId}.tar.gz"`,
    etag: `"${sha256}"`,
    'repr-digest': `sha-256=:${Buffer.from(sha256, 'hex').toString('base64')}:`,
    'accept-ranges': 'bytes',
  });
  const part = await app.inject({ url: archive, headers: { range: 'bytes=2-5' } });
  t.equal(part.statusCode, 206);
  t.ok(part.rawPayload.equals(bytes.subarray(2, 6)));
  const same = { range: 'bytes=2-5', 'if-range': `"${sha256}"` };
  t.equal((await app.inject({ url: archive, headers: same })).statusCode, 206);
  const other = { range: 'bytes=2-5', 'if-range': '"another"' };
  t.equal((await app.inject({ url: archive, headers: other })).statusCode, 200);
  const beyond = await app.inject({ url: archive, headers: { range: 'bytes=999999-' } });
  t.match(beyond.json(), { code: 'RANGE_NOT_SATISFIABLE' });
});

t.test('what cannot be asked for is refused', async (t) => {
  const { app, session } = await routes(t);
  const { live } = await session();
  const url = `/v1/sessions/${live.row.session_id}/checkpoints`;
  for (const [method, path, payload, code] of [
    ['POST', url, { name: '' }, 'VALIDATION_FAILED'],
    ['POST', url, { incremental: true }, 'VALIDATION_FAILED'],
    ['POST', '/v1/sessions/none/checkpoints', {}, 'SESSION_ENDED'],
    ['GET', '/v1/sessions/none/checkpoints', undefined, 'SESSION_NOT_FOUND'],
    ['GET', '/v1/checkpoints/..%2f..%2fetc', undefined, 'VALIDATION_FAILED'],
    ['POST', `/v1/checkpoints/ckp_${'0'.repeat(26)}/restore`, {}, 'CHECKPOINT_NOT_FOUND'],
    ['POST', `/v1/checkpoints/ckp_${'0'.repeat(26)}/restore`, { mode: 'inPlace' }, 'VALIDATION_FAILED'],
  ] as const) {
    const reply = await app.inject({ method, url: path, ...(payload ? { payload } : {}) });
    t.match(reply.json(), { code }, `${method} ${path} ${JSON.stringify(payload)}`);
  }
});
