// The hostile cases in every combination: programs beside each other in the session's sandbox or each in one of its
// own, as root with control groups or as an ordinary user without. And where there are weaker walls, or others' walls: the
// levels below, and an OCI runtime.
import { existsSync } from 'node:fs';
import t from 'tap';
import { testHostileCases } from '../helpers/hostile-cases.js';
import { noOtherHosts, ORDINARY_UID, THIS_HOST, userHost } from '../helpers/hosts.js';

for (const level of ['full', 'oneshot']) {
  const settings = { ISOLATION_MAX: level };
  t.test(`at level ${level}, as root with control groups`, { skip: noOtherHosts }, async (t) => {
    const { level: reached, hasCgroup } = await testHostileCases(t, { settings });
    t.equal(reached, level);
    t.ok(hasCgroup);
  });

  t.test(
    `at level ${level}, as an ordinary user without control groups`,
    { skip: noOtherHosts },
    async (t) => {
      const host = userHost(THIS_HOST);
      const { level: reached, hasCgroup } = await testHostileCases(t, { host, uid: ORDINARY_UID, settings });
      t.equal(reached, level);
      t.notOk(hasCgroup);
    },
  );
}

for (const level of ['rootNoUserns', 'noProc']) {
  t.test(`at level ${level}, as root with control groups`, { skip: noOtherHosts }, async (t) => {
    const settings = { ISOLATION_MAX: level, ISOLATION_MIN: level };
    t.equal((await testHostileCases(t, { settings })).level, level);
  });
}

const RUNTIME = '/usr/sbin/runc';
const noRuntime = noOtherHosts || (!existsSync(RUNTIME) && `${RUNTIME} is not installed`);
for (const level of ['oneshot', 'rootNoUserns']) {
  t.test(`in containers of an OCI runtime, at level ${level}`, { skip: noRuntime }, async (t) => {
    const settings = {
      ...{ SANDBOX_DRIVER: 'oci', OCI_RUNTIME: RUNTIME },
      ...{ ISOLATION_MAX: level, ISOLATION_MIN: level },
    };
    t.equal((await testHostileCases(t, { settings })).level, level);
  });
}
