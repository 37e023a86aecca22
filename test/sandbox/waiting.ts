// Which of the processes that wait for a program are kept. That they work is shown by `spare-sandboxes.ts` and `agent.ts`.
import { pino } from 'pino';
import t from 'tap';
import { WaitingProcesses } from '../../src/sandbox/waiting.js';

/** Each is limited when the test says so. */
function startWaiting() {
  const limited: (() => void)[] = [];
  const discarded: number[] = [];
  const waiting = new WaitingProcesses({
    groupFor: () => new Promise((resolve) => limited.push(() => resolve(null))),
    discard: ({ id }) => discarded.push(id),
    log: pino({ level: 'silent' }),
  });
  const says = (id: number, loaded: number) =>
    waiting.add(id, Buffer.from(JSON.stringify({ keeper: 7, loaded })));
  return { waiting, limited, discarded, says };
}

t.test('a process made before modules were loaded gives way to one made after', async (t) => {
  const { waiting, limited, discarded, says } = startWaiting();
  const ready = [says(1, 0), says(2, 0), says(3, 1)];
  for (const done of limited) done();
  await Promise.all(ready);
  t.same(discarded, [1, 2]);
  t.equal(waiting.take()?.id, 3);
  t.ok(waiting.isEmpty);
});

t.test('also where it is ready later', async (t) => {
  const { waiting, limited, discarded, says } = startWaiting();
  const old = says(1, 0);
  const fresh = says(2, 1);
  limited[1]!();
  await fresh;
  limited[0]!();
  await old;
  t.same(discarded, [1]);
  t.equal(waiting.take()?.id, 2);
});

t.test('one that comes when all are closed is discarded', async (t) => {
  const { waiting, limited, discarded, says } = startWaiting();
  const coming = says(1, 0);
  waiting.close();
  limited[0]!();
  await coming;
  t.same(discarded, [1]);
  t.ok(waiting.isEmpty);
});
