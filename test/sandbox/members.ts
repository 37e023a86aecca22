import { readFileSync } from 'node:fs';
import t from 'tap';
import { keeperAndMain } from '../../src/sandbox/members.js';
import { processesBelow } from '../helpers/processes.js';
import { sandboxSpec, start, startDriver } from '../helpers/sandboxes.js';
import { until } from '../helpers/world.js';

const SLEEP = 'import time; print("here", flush=True); time.sleep(60)';

const hasAgent = (pid: number) => readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('/agent.pyc');

const parentOf = (pid: number) =>
  Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))![1]);

t.test(
  'of two agents of one session each has its own keepers, though their numbers are the same',
  async (t) => {
    const driver = await startDriver(t);
    if (driver.isolation.level === null) return t.pass('not tried', { skip: 'no sandbox on this host' });
    const sandbox = await driver.create(sandboxSpec());
    const own = start(sandbox, SLEEP);
    const alone = start(sandbox, SLEEP, { egress: { allow: [], mayBePrivate: [] } });
    await Promise.all([own.said('here'), alone.said('here')]);

    // What bubblewrap starts has its name for a moment, and where the disk is watched there is one more that looks at it.
    const { members, bubblewraps, numbers } = await until(async () => {
      const all = processesBelow(process.pid);
      const found = all.filter(({ pid, name }) => name === 'bwrap' && hasAgent(pid)).map(({ pid }) => pid);
      return (
        found.length === 2 && {
          members: all.map(({ pid }) => pid),
          bubblewraps: found,
          numbers: new Set(all.flatMap(({ innerPids }) => innerPids)),
        }
      );
    });
    const wanted = { uid: sandbox.uid ?? process.getuid!(), nested: driver.isolation.level === 'full' };
    const seen = new Set<number>();
    for (const bubblewrap of bubblewraps) {
      const below = new Set(processesBelow(bubblewrap).map(({ pid }) => pid));
      const agentPid = members.find((pid) => parentOf(pid) === bubblewrap)!;
      for (const keeperPid of numbers) {
        const found = keeperAndMain(members, keeperPid, { agentPid, ...wanted });
        if (!found) continue;
        const { keeper, main } = found;
        t.ok(below.has(keeper), `number ${keeperPid} below ${bubblewrap}: ${keeper}`);
        t.equal(parentOf(main), keeper);
        seen.add(keeper).add(main);
      }
    }
    t.ok(seen.size >= 4, 'each of the two has a keeper with a program');
    own.exec.end(0);
    alone.exec.end(0);
    await Promise.all([own.ran, alone.ran]);
    await sandbox.remove();
  },
);

t.test('a number that nobody has, or somebody of another owner, finds no one', async (t) => {
  const wanted = { agentPid: process.ppid, nested: false };
  for (const [keeperPid, uid] of [
    [process.pid, 4_000_000_000],
    [0, process.getuid!()],
    [-1, process.getuid!()],
    [Number.NaN, process.getuid!()],
  ] as const) {
    t.equal(keeperAndMain([process.pid, 1], keeperPid, { ...wanted, uid }), undefined);
  }
});
