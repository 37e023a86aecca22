import t from 'tap';
import { Pages } from '../../src/events/pages.js';
import type { NewEvent } from '../../src/events/schema.js';
import { addSession, expiring, openJournal } from '../helpers/store.js';

const KIB = 1024;

function ended(taskId: string, bytes: number): NewEvent {
  return {
    type: 'task.ended',
    taskId,
    data: {
      status: 'success',
      ending: { cause: 'exited', exitCode: 0, message: 'The process exited with code 0.' },
      outputs: { stdout: 'x'.repeat(bytes) },
      outputsTruncated: false,
      usage: { outputBytes: 0 },
    },
  };
}

t.test('of large events the store reads no more than a page takes', async (t) => {
  const { store, journal } = await openJournal(t);
  const { key } = await addSession(store);
  const events = [
    ...Array.from({ length: 40 }, (_, n) => ended(`t${n}`, 100 * KIB)),
    ended('larger-than-a-page', 700 * KIB),
    ...Array.from({ length: 300 }, (_, n) => expiring(n)),
    ended('larger-than-a-page', 700 * KIB),
    ended('last', 100 * KIB),
  ];
  await journal.append(key, events);
  let readBytes = 0;
  const { query } = store;
  const counting = new Proxy(query, {
    get(target, name) {
      if (name !== 'executeQuery') return (target[name as 'selectFrom'] as () => unknown).bind(target);
      return async (...asked: Parameters<typeof query.executeQuery>) => {
        const answer = await query.executeQuery(...asked);
        readBytes += JSON.stringify(answer.rows).length;
        return answer;
      };
    },
  });
  const pages = new Pages({ query: counting });
  const view = { session: key };
  const extent = (await pages.extent(view))!;
  const seqs: number[] = [];
  let sentBytes = 0;
  let most = 0;
  for (let after = 0; ; ) {
    readBytes = 0;
    const page = await pages.read(view, extent, after, 1000);
    most = Math.max(most, readBytes);
    if (!page) break;
    const { lines, json } = page.batch();
    seqs.push(...lines.map(({ seq }) => seq));
    sentBytes = Math.max(sentBytes, json.join('').length);
    after = page.lastSeq;
  }
  t.same(
    seqs,
    events.map((_, index) => index + 1),
    'each once and in order',
  );
  t.ok(sentBytes > 700 * KIB, 'one that is larger than a page comes alone');
  t.ok(most < 2 * sentBytes, `${most} bytes were read for ${sentBytes}`);
});

t.test('a page has as many events as were asked for when they are small', async (t) => {
  const { store, journal } = await openJournal(t);
  const { key } = await addSession(store);
  await journal.append(
    key,
    Array.from({ length: 1000 }, (_, n) => expiring(n)),
  );
  const pages = new Pages(store);
  const extent = (await pages.extent({ session: key }))!;
  for (const limit of [1, 999, 1000]) {
    const page = await pages.read({ session: key }, extent, 0, limit);
    t.equal(page?.length, limit);
  }
  t.equal(await pages.read({ session: key }, extent, 1000, 1000), undefined);
});
