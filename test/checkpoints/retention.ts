import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { CheckpointRepository } from '../../src/checkpoints/repository.js';
import { CheckpointRetention } from '../../src/checkpoints/retention.js';
import { SessionRepository } from '../../src/sessions/repository.js';
import { checkpointBench, principal } from '../helpers/checkpoints.js';
import { silent } from '../helpers/store.js';

const HOUR = 3_600_000;

async function bench(t: Test, limits: { unusedMs?: number; bytes?: number }) {
  const { checkpoints, store, archives, session } = await checkpointBench(t);
  const clock = { now: Date.now() };
  const stuck = new Set<string>();
  const repository = new CheckpointRepository(store);
  const sessions = new SessionRepository(store);
  const retention = new CheckpointRetention({
    repository,
    remove: async (id) => {
      if (stuck.has(id)) throw new Error('not now');
      await checkpoints.removeById(id);
    },
    limits: { unusedMs: 0, bytes: 0, ...limits },
    log: silent,
    now: () => clock.now,
  });
  const ids = async () =>
    (await checkpoints.list({ tenant: 'default', limit: 100 })).items.map((each) => each.checkpointId);
  return {
    checkpoints,
    store,
    archives,
    clock,
    stuck,
    retention,
    sessions,
    /** A session with a checkpoint. */
    async made(name: string) {
      const { live, root } = await session({ session_id: name });
      writeFileSync(join(root, 'a'), name);
      const { checkpointId } = await checkpoints.create(principal, name);
      return { row: live.row.id, id: checkpointId };
    },
    end: (row: string) => store.write(sessions.end(row, 'terminated', 'deleted', clock.now)),
    round: (isClockSure = true) => retention.round(isClockSure, new AbortController().signal),
    ids,
  };
}

t.test('checkpoints of sessions that are over go after a time without use, others stay', async (t) => {
  const { made, end, round, ids, clock, sessions, archives, checkpoints } = await bench(t, {
    unusedMs: 10 * HOUR,
  });
  const living = await made('living');
  const over = await made('over');
  clock.now += 100 * HOUR;
  await round();
  t.same(new Set(await ids()), new Set([living.id, over.id]), 'however long a session lives');
  await end(over.row);
  await round();
  t.ok((await ids()).includes(over.id), 'the time begins with its end');
  await sessions.forget(over.row);
  await round();
  t.ok((await ids()).includes(over.id), 'also when its record is gone before');
  clock.now += 10 * HOUR + 1;
  await round(false);
  t.ok((await ids()).includes(over.id), 'not by a clock that may be wrong');
  await round();
  t.same(await ids(), [living.id]);
  t.notOk(existsSync(join(archives, `${over.id}.tar.gz`)));
  await t.rejects(checkpoints.get(principal, over.id), { code: 'CHECKPOINT_NOT_FOUND' });
});

t.test('what is downloaded or restored is of use', async (t) => {
  const { made, end, round, ids, clock, store, checkpoints } = await bench(t, { unusedMs: 10 * HOUR });
  const all = [await made('unused'), await made('downloaded'), await made('restored')];
  for (const { row } of all) await end(row);
  await store.write([
    { sql: 'update checkpoints set last_used_at = ?', parameters: [clock.now - 11 * HOUR] },
  ]);
  const [unused, downloaded, restored] = all.map(({ id }) => id) as [string, string, string];
  await (await checkpoints.openArchive(principal, downloaded)).file.close();
  await checkpoints.restore(principal, restored, { sessionId: 'again' });
  await round();
  const left = await ids();
  t.notOk(left.includes(unused));
  t.ok(left.includes(downloaded) && left.includes(restored));
});

t.test('beyond a size those that were of no use for longest go, and no more than needed', async (t) => {
  const { made, end, ids, clock, store } = await bench(t, {});
  const living = await made('living');
  const over = [];
  for (let n = 0; n < 25; n += 1) {
    const each = await made(`over-${n}`);
    await end(each.row);
    over.push(each);
    clock.now += 1000;
  }
  const [{ bytes } = { bytes: 0 }] = await store.query
    .selectFrom('checkpoints')
    .select((eb) => eb.fn.max<number>('size_bytes').as('bytes'))
    .execute();
  const repository = new CheckpointRepository(store);
  const failing = over[0]!.id;
  const retention = new CheckpointRetention({
    repository,
    remove: async (id) => {
      if (id === failing) throw new Error('not now');
      await repository.remove(id);
    },
    limits: { unusedMs: 0, bytes: 3 * bytes },
    log: silent,
  });
  await retention.round(true, new AbortController().signal);
  const left = new Set(await ids());
  t.ok(left.delete(living.id), 'of a session that lives none goes');
  t.ok(left.delete(failing), 'one that cannot be removed stays');
  t.same(left, new Set(over.slice(-2).map(({ id }) => id)));
  t.equal(retention.size.count, 3);
  t.ok(retention.size.bytes <= 3 * bytes && retention.size.bytes > 2 * bytes);
});

t.test('without limits nothing goes', async (t) => {
  const { made, end, round, ids, clock } = await bench(t, {});
  const { row, id } = await made('over');
  await end(row);
  clock.now += 1_000_000 * HOUR;
  await round();
  t.same(await ids(), [id]);
});
