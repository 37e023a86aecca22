// What a working v2 hierarchy does is shown by `find.ts`, which runs on whatever the host has. Here: when v2 is refused.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import t from 'tap';
import { openCgroupV2 } from '../../../src/sandbox/limits/cgroup-v2.js';

t.test('a hierarchy without the memory controller is refused by its name', async (t) => {
  const own = t.testdir({ 'cgroup.controllers': 'hugetlb\n' });
  await t.rejects(
    openCgroupV2({ unified: own, controllers: new Map() }, 'codegen-worker-x'),
    /controller memory/,
  );
});

t.test('a host without v2 is refused', async (t) => {
  await t.rejects(
    openCgroupV2({ unified: null, controllers: new Map() }, 'codegen-worker-x'),
    /no cgroup v2/,
  );
});

t.test('started from the leaf that an earlier run moved us into, the group above is ours', async (t) => {
  const own = t.testdir({
    'cgroup.controllers': 'cpu memory pids\n',
    'cgroup.subtree_control': '',
    'codegen-worker-service': {},
  });
  mkdirSync(`${own}/codegen-worker-x`);
  writeFileSync(`${own}/codegen-worker-x/cgroup.subtree_control`, '');
  writeFileSync(`${own}/codegen-worker-x/cpu.weight`, '');
  const place = { unified: `${own}/codegen-worker-service`, controllers: new Map() };
  const limiter = await openCgroupV2(place, 'codegen-worker-x');
  t.equal(limiter.kind, 'v2');
  t.equal(readFileSync(`${own}/codegen-worker-x/cpu.weight`, 'utf8'), '25');
});
