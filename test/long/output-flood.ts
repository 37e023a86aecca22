import t from 'tap';
import { digestOfFlood, type FloodReader, flood } from '../helpers/flood.js';

/** MiB to print; the quiet of /healthz is judged from 1000 on, where a start-up hiccup is not one in a hundred. */
const SIZE_MIB = Number(process.env.FLOOD_MIB ?? 1000);
const CAP = SIZE_MIB * 1024 * 1024 + 12_345;

for (const kind of ['none', 'reading', 'stalled'] as const satisfies FloodReader[]) {
  t.test(`1 GB printed at full speed, reader: ${kind}: exact, steady, and others are answered`, async (t) => {
    const { task, seconds, rssMiB, health, stored, read } = await flood(t, CAP, kind);
    t.comment(JSON.stringify({ kind, seconds, rssMiB, health }));
    t.match(task, { status: 'failure', ending: { cause: 'outputLimit' }, usage: { outputBytes: CAP } });
    const expected = digestOfFlood(CAP);
    t.equal(stored, expected, 'under /output/');
    if (kind !== 'none') t.equal(read, expected, 'as events');
    // What has passed is collected when there is some of it, in each thread; it does not become more with time.
    // One that stood still catches up in the second half.
    if (kind !== 'stalled')
      t.ok(rssMiB.most <= rssMiB.mostAtFirst + 32, `memory: ${JSON.stringify(rssMiB)} MiB`);
    t.ok(rssMiB.most - rssMiB.before < 192, 'nor more than that');
    t.ok(health.p99 <= 50, `/healthz: ${JSON.stringify(health)} ms`);
  });
}
