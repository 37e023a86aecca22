// The hostile cases can fail: with a bubblewrap that keeps its promises only while it is probed, those fail whose
// walls are missing, and those whose walls still stand do not.
import t from 'tap';
import { CARELESS } from '../helpers/bubblewraps.js';
import { hostileCases, startHostileGround } from '../helpers/hostile-cases.js';
import { hostWithBubblewrap, noOtherHosts } from '../helpers/hosts.js';

const CAUGHT = [
  'write_rootfs',
  'host_files',
  'new_userns',
  'dangerous_syscalls',
  'net_loopback_host',
  'net_raw_families',
  'tmp_persistence',
];
const HOLDING = ['ok_exception', 'forge_frames', 'interp_overwrite', 'setuid_binaries'];

t.test('a careless sandbox is caught', { skip: noOtherHosts }, async (t) => {
  const ground = await startHostileGround(t, {
    host: await hostWithBubblewrap(t, CARELESS),
    // Here the filter is bubblewrap’s, and not the agent’s.
    settings: { ISOLATION_MAX: 'oneshot' },
  });
  for (const [names, isCaught] of [
    [CAUGHT, true],
    [HOLDING, false],
  ] as const) {
    for (const name of names) {
      const hostile = hostileCases.find((each) => each.name === name)!;
      if (ground.cannotRun(hostile)) continue;
      const complaints = await ground.complaintsAbout(hostile);
      t.equal(complaints.length > 0, isCaught, `${name}: ${JSON.stringify(complaints)}`);
    }
  }
  await ground.complaintsAtTheEnd();
});
