import t from 'tap';
import { digestOfFlood, type FloodReader, flood } from '../helpers/flood.js';

const MIB = 1024 * 1024;
/** No whole number of blocks or events. */
const CAP = 24 * MIB + 12_345;

for (const kind of ['none', 'reading', 'stalled'] as const satisfies FloodReader[]) {
  t.test(`24 MiB printed at full speed, reader: ${kind}: the cap is exact and memory stays`, async (t) => {
    const { task, rssMiB, stored, read } = await flood(t, CAP, kind);
    t.match(task, { status: 'failure', ending: { cause: 'outputLimit' }, usage: { outputBytes: CAP } });
    t.equal(task.outputs?.stdoutBytes, CAP);
    const expected = digestOfFlood(CAP);
    t.equal(stored, expected, 'under /output/');
    if (kind !== 'none') t.equal(read, expected, 'as events');
    t.ok(rssMiB.most - rssMiB.before < 128, `memory: ${JSON.stringify(rssMiB)} MiB`);
  });
}
