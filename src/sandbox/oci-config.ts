// The walls as an OCI runtime takes them: a pure function from what is wanted to its config.json. The same mounts as
// bubblewrap's, from the same policy.
import {
  type BubblewrapPolicy,
  ETC_FILES,
  INSIDE_EGRESS_SOCKET,
  INSIDE_LIBRARY,
  VISIBLE_HOST_PATHS,
  WORKSPACE,
} from './bubblewrap.js';
import { LEAST_TEMPORARY_SPACE } from './temporary-space.js';
import { INSIDE_PIP } from './workspace.js';

export interface OciSpec {
  readonly policy: BubblewrapPolicy;
  /** The directory that is the root inside: empty but for the places of the mounts. */
  readonly root: string;
  /** With the files of `etc/`. */
  readonly etc: string;
  /** Host uid of everything inside. */
  readonly uid: number;
  readonly userNamespace: boolean;
  /** Of the host, those of `VISIBLE_HOST_PATHS` that exist. */
  readonly visible: readonly string[];
  readonly cgroupsPath: string;
}

/** Who programs are inside a user namespace, where nobody on the host stands for its root. */
const INSIDE_UID = 1000;
const NOBODY = 65_534;

/** Nothing is ever written to the root, so what is mounted has to have its place there before. */
export const ROOT_DIRECTORIES = [
  ...['usr', 'etc/ssl/certs', 'etc/alternatives', 'proc', 'dev', 'tmp', 'workspace'],
  INSIDE_LIBRARY.slice(1),
  INSIDE_PIP.slice(1),
];
export const ROOT_LINKS = ['bin', 'lib', 'lib64', 'sbin'];

export function ociConfig(spec: OciSpec): object {
  const { policy, uid, userNamespace } = spec;
  const inside = userNamespace ? INSIDE_UID : uid;
  const capabilities = policy.capabilities ?? [];
  const mappings = [
    { containerID: 0, hostID: NOBODY, size: 1 },
    { containerID: INSIDE_UID, hostID: uid, size: 1 },
  ];
  return {
    ociVersion: '1.0.2',
    hostname: 'sandbox',
    root: { path: spec.root, readonly: true },
    process: {
      terminal: false,
      user: { uid: inside, gid: inside },
      args: policy.command,
      env: Object.entries(policy.env ?? {}).map(([name, value]) => `${name}=${value}`),
      cwd: '/',
      capabilities: Object.fromEntries(
        ['bounding', 'effective', 'inheritable', 'permitted', 'ambient'].map((set) => [set, capabilities]),
      ),
      noNewPrivileges: true,
    },
    mounts: mounts(spec),
    linux: {
      cgroupsPath: spec.cgroupsPath,
      namespaces: ['pid', 'ipc', 'uts', 'mount', 'network', ...(userNamespace ? ['user'] : [])].map(
        (type) => ({ type }),
      ),
      ...(userNamespace ? { uidMappings: mappings, gidMappings: mappings } : {}),
      maskedPaths: ['/proc/kcore', '/proc/keys', '/proc/timer_list', '/proc/sched_debug', '/proc/acpi'],
      readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
    },
  };
}

function mounts({ policy, etc, visible }: OciSpec): object[] {
  const sized = (bytes: number) => ['nosuid', 'nodev', 'mode=1777', `size=${bytes}`];
  const bind = (source: string, destination: string, writable = false) => ({
    ...{ source, destination, type: 'bind' },
    options: ['rbind', 'nosuid', 'nodev', 'rprivate', writable ? 'rw' : 'ro'],
  });
  const tmpfs = (destination: string, options: readonly string[]) => ({
    ...{ destination, type: 'tmpfs', source: 'tmpfs', options },
  });
  return [
    { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'nodev', 'noexec'] },
    // Its size is for directory entries only; the runtime puts the usual devices there.
    tmpfs('/dev', ['nosuid', 'strictatime', 'mode=755', 'size=65536', 'ro']),
    tmpfs('/dev/shm', sized(policy.shmBytes ?? LEAST_TEMPORARY_SPACE.shmBytes)),
    tmpfs('/tmp', sized(policy.tmpBytes ?? LEAST_TEMPORARY_SPACE.tmpBytes)),
    bind(`${policy.library}/etc`, '/etc'),
    ...VISIBLE_HOST_PATHS.filter((path) => visible.includes(path)).map((path) => bind(path, path)),
    ...ETC_FILES.map((name) => bind(`${etc}/${name}`, `/etc/${name}`)),
    ...(policy.workspace ? [bind(policy.workspace.source, WORKSPACE, policy.workspace.writable)] : []),
    bind(policy.library, INSIDE_LIBRARY),
    ...(policy.binds ?? []).map(({ source, target, writable }) => bind(source, target, writable)),
  ];
}

/** Files that are bound need files of their name in the root. */
export const ROOT_FILES = [
  ...ETC_FILES.map((name) => `etc/${name}`),
  ...['etc/ld.so.cache', 'etc/localtime'],
  INSIDE_EGRESS_SOCKET.slice(1),
];
