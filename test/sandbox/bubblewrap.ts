import t from 'tap';
import { type BubblewrapPolicy, bubblewrapArgs } from '../../src/sandbox/bubblewrap.js';

const policy: BubblewrapPolicy = {
  workspace: { source: '/data/w', writable: true },
  library: '/data/library',
  command: ['/bin/true'],
};

const argsText = (changes: Partial<BubblewrapPolicy> = {}) =>
  ` ${bubblewrapArgs({ ...policy, ...changes }).join(' ')} `;

t.test('every namespace is its own, and nobody inside may make more user namespaces', async (t) => {
  for (const kind of ['user', 'pid', 'ipc', 'uts', 'net', 'cgroup-try']) {
    t.match(argsText(), ` --unshare-${kind} `);
  }
  t.match(argsText(), ' --disable-userns ');
  t.notMatch(argsText(), '--share-net');
});

t.test('a service that is killed takes its sandboxes along', async (t) => {
  t.match(argsText(), ' --die-with-parent ');
});

t.test('the root is made read-only after the last mount', async (t) => {
  const args = bubblewrapArgs({ ...policy, binds: [{ source: '/a', target: '/b' }] });
  const remount = args.findLastIndex((arg, at) => arg === '--remount-ro' && args[at + 1] === '/');
  const mounts = ['--bind', '--ro-bind', '--ro-bind-try', '--tmpfs', '--proc', '--dev', '--dir', '--symlink'];
  const lastMount = args.findLastIndex((arg) => mounts.includes(arg));
  t.ok(remount > lastMount);
  t.ok(
    args.findLastIndex((arg, at) => arg === '--remount-ro' && args[at + 1] === '/dev') >
      args.indexOf('/dev/shm'),
    '/dev too, after /dev/shm',
  );
});

t.test('every tmpfs has a size', async (t) => {
  const args = bubblewrapArgs(policy);
  args.forEach((arg, at) => {
    if (arg === '--tmpfs') t.equal(args[at - 4], '--size', `${args[at + 1]}`);
  });
});

t.test('without asking there is no capability, and a workspace only as it was asked for', async (t) => {
  t.notMatch(argsText(), '--cap-add');
  t.match(argsText({ capabilities: ['CAP_SYS_ADMIN'] }), ' --cap-drop ALL --cap-add CAP_SYS_ADMIN ');
  t.match(argsText(), ' --bind /data/w /workspace ');
  t.match(argsText({ workspace: { source: '/data/w', writable: false } }), ' --ro-bind /data/w /workspace ');
  t.notMatch(argsText({ workspace: null }), '/workspace');
});

t.test('of the host only what is listed is bound, and nothing of it is writable', async (t) => {
  const args = bubblewrapArgs({ ...policy, workspace: null });
  const sources = args.flatMap((arg, at) => (/^--(ro-)?bind/.test(arg) ? [args[at + 1]] : []));
  t.same(sources, [
    '/usr',
    '/data/library/etc',
    '/etc/ld.so.cache',
    '/etc/ssl/certs',
    '/etc/alternatives',
    '/etc/localtime',
    '/data/library',
  ]);
  t.notOk(args.includes('--bind') || args.includes('--dev-bind'));
});

t.test('descriptors are named when there are any', async (t) => {
  t.match(
    argsText({ seccompFd: 6, statusFd: 4, blockFd: 5 }),
    ' --seccomp 6 --json-status-fd 4 --block-fd 5 ',
  );
  t.notMatch(argsText(), /--(seccomp|json-status-fd|block-fd)/);
});
