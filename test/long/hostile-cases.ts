// The hostile cases in every combination: programs beside each other in the session's sandbox or each in one of its
// own, as root with control groups or as an ordinary user without.
import t, { type Test } from 'tap';
import { WITHOUT_NESTING } from '../helpers/bubblewraps.js';
import { testHostileCases } from '../helpers/hostile-cases.js';
import { hostWithBubblewrap, noOtherHosts, ORDINARY_UID, THIS_HOST, userHost } from '../helpers/hosts.js';

const HOSTS = {
  full: async () => THIS_HOST,
  oneshot: (t: Test) => hostWithBubblewrap(t, WITHOUT_NESTING),
} as const;

for (const [level, make] of Object.entries(HOSTS)) {
  t.test(`at level ${level}, as root with control groups`, { skip: noOtherHosts }, async (t) => {
    const { level: reached, hasCgroup } = await testHostileCases(t, { host: await make(t) });
    t.equal(reached, level);
    t.ok(hasCgroup);
  });

  t.test(
    `at level ${level}, as an ordinary user without control groups`,
    { skip: noOtherHosts },
    async (t) => {
      const host = userHost(await make(t));
      const { level: reached, hasCgroup } = await testHostileCases(t, { host, uid: ORDINARY_UID });
      t.equal(reached, level);
      t.notOk(hasCgroup);
    },
  );
}
