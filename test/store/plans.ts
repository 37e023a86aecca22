// How SQLite goes about every statement that the service really uses: none may read a whole table, for tables grow.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { openDatabase } from '../../src/store/database.js';
import { WorkerClient } from '../../src/store/worker-client.js';
import type { Task } from '../../src/tasks/schema.js';
import { startService, until } from '../helpers/world.js';

/** Indexes of a few rows: what has not ended. */
const SMALL = /USING (COVERING )?INDEX (tasks_unfinished|sessions_living|idempotency_running)/;
const OF_A_TABLE = /^(SCAN|SEARCH) (\w+)/;

type Question = { readonly sql?: string; readonly statements?: readonly { readonly sql: string }[] };

/** Every statement that goes to a store from now on. */
function record(): Set<string> {
  const seen = new Set<string>();
  const { ask } = WorkerClient.prototype as {
    ask: (question: Question, ...rest: unknown[]) => Promise<unknown>;
  };
  t.teardown(() => Object.assign(WorkerClient.prototype, { ask }));
  Object.assign(WorkerClient.prototype, {
    ask(this: unknown, question: Question, ...rest: unknown[]) {
      for (const { sql } of question.statements ?? [question]) seen.add(sql!);
      return ask.call(this, question, ...rest);
    },
  });
  return seen;
}

t.test('no statement of the service reads a whole table', async (t) => {
  const seen = record();
  const world = await startService(t, {
    RETENTION_SECONDS: '1',
    SESSION_RETENTION_BYTES: '2000',
    STORE_RETENTION_BYTES: String(1024 * 1024),
    CHECKPOINT_RETENTION_SECONDS: '1',
    CHECKPOINT_RETENTION_BYTES: String(1024 ** 3),
  });
  const { sessionId } = await world.session({ metadata: { team: 'a' } });
  const key = { 'idempotency-key': 'once' };
  const submission = { tool: 'run.python', arguments: { code: 'print("x" * 2000)' }, metadata: { n: '1' } };
  for (let time = 0; time < 2; time += 1) {
    await world.call('POST', `/v1/sessions/${sessionId}/tasks?wait=20`, submission, key);
    await world.call('PATCH', `/v1/sessions/${sessionId}`, { metadata: { team: 'b' } }, key);
  }
  const task = await world.python(sessionId, 'print("y")', { taskId: 'mine' });
  await world.call('POST', `/v1/tasks/${task.taskId}/cancel`, {});
  const gone = await world.session();
  const checkpoint = await world.call<{ checkpointId: string }>(
    'POST',
    `/v1/sessions/${gone.sessionId}/checkpoints`,
    {},
  );
  await world.call('DELETE', `/v1/sessions/${gone.sessionId}?checkpoint=true`);
  const after = '&createdAfter=2020-01-01T00:00:00Z';
  const lists = [
    '/v1/sessions?limit=1',
    `/v1/sessions?state=ready,active,terminated${after}&metadata.team=a`,
    `/v1/sessions/${sessionId}/tasks?limit=1`,
    `/v1/sessions/${sessionId}/tasks?status=success&tool=echo&metadata.n=1${after}`,
    `/v1/sessions/${gone.sessionId}/checkpoints?limit=1${after}`,
    '/v1/checkpoints?limit=1',
  ];
  for (const path of lists) {
    const { status, body } = await world.call<{ nextCursor: string | null }>('GET', path);
    t.equal(status, 200, path);
    if (body.nextCursor) await world.call('GET', `${path}&cursor=${encodeURIComponent(body.nextCursor)}`);
  }
  for (const path of [
    `/v1/sessions/${sessionId}/events?limit=3`,
    `/v1/tasks/${task.taskId}/events?limit=3`,
    `/v1/tasks/${task.taskId}/output/stdout`,
    `/v1/checkpoints/${checkpoint.body.checkpointId}`,
    '/readyz',
  ]) {
    await world.call('GET', path);
  }
  await world.call('DELETE', `/v1/checkpoints/${checkpoint.body.checkpointId}`);
  const running = await world.submit(sessionId, 'run.python', {
    code: 'print(1, flush=True); import time; time.sleep(60)',
  });
  await until(async () => (await world.call<Task>('GET', `/v1/tasks/${running.taskId}`)).body.startedAt);
  await world.restart();
  await until(async () => (await world.call('GET', `/v1/sessions/${gone.sessionId}`)).status === 404);
  // The session ended more than a second before the first look.
  await until(async () => (await readdir(join(world.dataDir, 'checkpoints'))).length === 0);
  for (const part of ['delete from "output"', 'sum("size_bytes")']) {
    await until(async () => [...seen].some((sql) => sql.includes(part)));
  }

  const db = openDatabase(join(world.dataDir, 'store.db'));
  t.teardown(() => db.close());
  const tables = db
    .prepare("select name from sqlite_master where type = 'table'")
    .all([])
    .rows.map(([name]) => name);
  const bad: string[] = [];
  let explained = 0;
  for (const sql of seen) {
    if (sql.startsWith('pragma')) continue;
    explained += 1;
    const parameters = Array.from(sql.matchAll(/\?/g), () => null);
    for (const [, , , detail] of db.prepare(`explain query plan ${sql}`).all(parameters).rows) {
      const [, how, table] = OF_A_TABLE.exec(detail as string) ?? [];
      if (how === 'SCAN' && tables.includes(table) && !SMALL.test(detail as string))
        bad.push(`${detail}: ${sql}`);
    }
  }
  t.same(bad, []);
  t.ok(explained > 40, `${explained} statements were looked at`);
});
