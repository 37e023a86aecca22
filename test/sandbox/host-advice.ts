import t from 'tap';
import {
  adviseOnCgroups,
  adviseOnDisks,
  adviseOnFailure,
  type HostTraits,
  readHostTraits,
} from '../../src/sandbox/host-advice.js';

const plain: HostTraits = {
  isRoot: false,
  container: null,
  distribution: 'debian',
  unprivilegedUserns: null,
  maxUserNamespaces: '63000',
  appArmorRestrictsUserns: null,
};
const NO_NAMESPACE =
  'bwrap: No permissions to create new namespace, likely because the kernel does not allow it';
const NO_PROC = "bwrap: Can't mount proc on /newroot/proc: Operation not permitted";

const CASES: readonly [string, string, Partial<HostTraits>, RegExp, RegExp][] = [
  [
    'user namespaces switched off',
    NO_NAMESPACE,
    { maxUserNamespaces: '0' },
    /max_user_namespaces=0/,
    /sysctl -w user/,
  ],
  [
    'an old Debian',
    NO_NAMESPACE,
    { unprivilegedUserns: '0' },
    /unprivileged_userns_clone/,
    /sysctl -w kernel/,
  ],
  ['Docker', NO_NAMESPACE, { container: 'docker', isRoot: true }, /container/, /--security-opt seccomp=/],
  [
    'Docker with a masked /proc',
    NO_PROC,
    { container: 'docker' },
    /masks parts of \/proc/,
    /systempaths=unconfined/,
  ],
  ['Kubernetes', NO_NAMESPACE, { container: 'kubernetes' }, /container/, /procMount: Unmasked/],
  ['Podman', NO_PROC, { container: 'podman' }, /masks/, /unmask=ALL/],
  [
    'Ubuntu with AppArmor',
    'bwrap: setting up uid map: Permission denied',
    { appArmorRestrictsUserns: '1', distribution: 'ubuntu' },
    /AppArmor/,
    /profile bwrap \/usr\/bin\/bwrap flags=\(unconfined\) \{\n {2}userns,/,
  ],
  ['anything else', 'bwrap: some new reason\nmore', {}, /some new reason\)$/, /by hand/],
];

for (const [name, said, traits, what, fix] of CASES) {
  t.test(`${name}: the reason and the fix are named`, async (t) => {
    const advice = adviseOnFailure(said, { ...plain, ...traits });
    t.match(advice.what, what);
    t.match(advice.fix, fix);
  });
}

t.test('root is not told about settings for ordinary users', async (t) => {
  t.notMatch(
    adviseOnFailure(NO_NAMESPACE, { ...plain, isRoot: true, unprivilegedUserns: '0' }).what,
    /ordinary/,
  );
});

t.test('the traits of this host can be read', async (t) => {
  const traits = readHostTraits(true);
  t.equal(traits.isRoot, true);
  t.type(traits.distribution, 'string');
});

t.test('without control groups it says why, and what to do on this kind of host', async (t) => {
  const against = { v2: 'no memory controller', v1: 'EACCES: permission denied\nat openCgroupV1' };
  for (const [traits, fix] of [
    [{}, /Delegate=yes/],
    [{ isRoot: true }, /Mount cgroup v2/],
    [{ container: 'docker', isRoot: true }, /--cgroupns=private/],
    [{ container: 'podman' }, /unmask=/],
    [{ container: 'kubernetes', isRoot: true }, /containerd 2\.1/],
  ] as const) {
    const advice = adviseOnCgroups(against, { ...plain, ...traits });
    t.match(advice, { what: /v2: no memory controller; v1: EACCES: permission denied\)$/, fix });
  }
});

t.test('with a watcher only it says why, and what to do on this kind of host', async (t) => {
  const against = { quota: 'Function not implemented', image: 'no loop device' };
  for (const [traits, fix] of [
    [{}, /as root/],
    [{ isRoot: true }, /prjquota.*modprobe loop/],
    [{ container: 'docker', isRoot: true }, /CAP_SYS_ADMIN/],
  ] as const) {
    const advice = adviseOnDisks(against, { ...plain, ...traits });
    t.match(advice, { what: /quota: Function not implemented; image: no loop device/, fix });
  }
});
