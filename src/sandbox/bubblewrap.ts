// The walls, as arguments of bubblewrap: a pure function from what is wanted to an argv. Everything that is not
// named here does not exist inside.
import { LEAST_TEMPORARY_SPACE } from './temporary-space.js';

/** What the programs' own walls are made with, inside; it holds these only in its own user namespace. */
export const NESTING_CAPABILITIES = ['CAP_SYS_ADMIN', 'CAP_SETPCAP'] as const;

export const WORKSPACE = '/workspace';
/** Where the Python sources of the service are inside. */
export const INSIDE_LIBRARY = '/run/codegen';
export const INSIDE_EGRESS_SOCKET = '/run/egress.sock';

/** Host paths that are bound as they are, so that nothing private may lie below them. */
export const VISIBLE_HOST_PATHS = [
  '/usr',
  '/etc/ld.so.cache',
  '/etc/ssl/certs',
  '/etc/alternatives',
  '/etc/localtime',
] as const;

export interface Bind {
  readonly source: string;
  readonly target: string;
  readonly writable?: boolean;
}

export interface BubblewrapPolicy {
  /** Host directory shown as /workspace, or null for none. */
  readonly workspace: { readonly source: string; readonly writable: boolean } | null;
  /** Host directory with the files of `etc/` and the Python sources (`library.ts` fills it). */
  readonly library: string;
  /** More of the host, e.g. the egress socket and pip. */
  readonly binds?: readonly Bind[];
  /** False as root where there are none: then the command itself must give up root, see `withoutRoot`. */
  readonly userNamespace?: boolean;
  /** False where no fresh /proc can be mounted: then it is empty. */
  readonly proc?: boolean;
  /** Capabilities in the sandbox's own user namespace. Empty: none at all. */
  readonly capabilities?: readonly string[];
  /** Descriptor with a seccomp filter for everything inside; without it the agent gives its children one. */
  readonly seccompFd?: number;
  /** Files whose content comes from a descriptor. */
  readonly data?: readonly { readonly fd: number; readonly target: string }[];
  /** Descriptor on which bubblewrap tells the pid of its child. */
  readonly statusFd?: number;
  /** Descriptor that holds the child back until it can be read. */
  readonly blockFd?: number;
  readonly tmpBytes?: number;
  readonly shmBytes?: number;
  readonly env?: Readonly<Record<string, string>>;
  /** Runs as pid 1 inside. */
  readonly command: readonly string[];
}

/** Files of our own in the library's `etc/`. */
export const ETC_FILES = ['passwd', 'group', 'hosts', 'nsswitch.conf'] as const;

/** The options, meant for `--args FD`, which hides host paths from /proc. The command goes beside them, after `--`. */
export function bubblewrapArgs(policy: BubblewrapPolicy): string[] {
  const { workspace, library } = policy;
  const capabilities = policy.capabilities ?? [];
  return [
    ...(policy.userNamespace === false ? [] : USER_NAMESPACE),
    ...NAMESPACES,
    ...systemDirectories(library),
    ...(policy.data ?? []).flatMap(({ fd, target }) => [
      '--perms',
      '0644',
      '--ro-bind-data',
      String(fd),
      target,
    ]),
    ...(policy.proc === false ? ['--perms', '0555', '--dir', '/proc'] : ['--proc', '/proc']),
    ...devices(policy.shmBytes ?? LEAST_TEMPORARY_SPACE.shmBytes),
    ...tmpfs(policy.tmpBytes ?? LEAST_TEMPORARY_SPACE.tmpBytes, '/tmp'),
    ...(workspace ? bind({ ...workspace, target: WORKSPACE }) : []),
    ...bind({ source: library, target: INSIDE_LIBRARY }),
    ...(policy.binds ?? []).flatMap(bind),
    // Last of the mounts: bubblewrap's own root is a writable tmpfs of unlimited size.
    '--remount-ro',
    '/',
    '--chdir',
    '/',
    ...Object.entries(policy.env ?? {}).flatMap(([name, value]) => ['--setenv', name, value]),
    '--cap-drop',
    'ALL',
    ...capabilities.flatMap((capability) => ['--cap-add', capability]),
    ...descriptor('--seccomp', policy.seccompFd),
    ...descriptor('--json-status-fd', policy.statusFd),
    ...descriptor('--block-fd', policy.blockFd),
  ];
}

const USER_NAMESPACE = ['--unshare-user', '--disable-userns', '--uid', '1000', '--gid', '1000'];

const NAMESPACES = [
  '--unshare-pid',
  '--unshare-ipc',
  '--unshare-uts',
  '--unshare-net',
  '--unshare-cgroup-try',
  '--hostname',
  'sandbox',
  // Without it what runs inside would outlive a service that is killed.
  '--die-with-parent',
  '--new-session',
  '--clearenv',
  '--as-pid-1',
];

/** What root of the host needs to give up being root, inside. */
export const DROPPING_CAPABILITIES = ['CAP_SETUID', 'CAP_SETGID', 'CAP_SETPCAP'];

/** The command as a stranger to the host, where no user namespace makes it one: no root, no groups, no capabilities but
 *  these, and no way back. */
export function withoutRoot(
  command: readonly string[],
  uid: number,
  capabilities: readonly string[],
): string[] {
  const kept = ['-all', ...capabilities.map((name) => `+${name.replace(/^CAP_/, '').toLowerCase()}`)].join(
    ',',
  );
  return [
    ...['/usr/bin/setpriv', '--reuid', String(uid), '--regid', String(uid), '--clear-groups'],
    ...['--inh-caps', kept, '--ambient-caps', kept, '--bounding-set', '-all', '--no-new-privs'],
    // A change of uid forgets it.
    ...['--pdeathsig', 'KILL'],
    ...command,
  ];
}

function systemDirectories(library: string): string[] {
  return [
    ...['--ro-bind', '/usr', '/usr'],
    ...['bin', 'lib', 'lib64', 'sbin'].flatMap((name) => ['--symlink', `usr/${name}`, `/${name}`]),
    ...['--ro-bind', `${library}/etc`, '/etc'],
    ...VISIBLE_HOST_PATHS.filter((path) => path.startsWith('/etc/')).flatMap((path) => [
      '--ro-bind-try',
      path,
      path,
    ]),
    // `--dir` makes 0700 unless told otherwise.
    ...['--perms', '0755', '--dir', '/run'],
  ];
}

function devices(shmBytes: number): string[] {
  return ['--dev', '/dev', ...tmpfs(shmBytes, '/dev/shm'), '--remount-ro', '/dev'];
}

function tmpfs(bytes: number, target: string): string[] {
  return ['--size', String(bytes), '--perms', '1777', '--tmpfs', target];
}

function bind({ source, target, writable }: Bind): string[] {
  return [writable ? '--bind' : '--ro-bind', source, target];
}

function descriptor(option: string, fd: number | undefined): string[] {
  return fd === undefined ? [] : [option, String(fd)];
}
