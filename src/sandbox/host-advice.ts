// What to do on which kind of host when sandboxes cannot be made there. Pure: from what bubblewrap said and what the
// host is like to the exact words for the operator.
import { existsSync, readFileSync } from 'node:fs';

export interface HostTraits {
  readonly isRoot: boolean;
  readonly container: 'docker' | 'kubernetes' | 'podman' | null;
  /** `ID` of /etc/os-release. */
  readonly distribution: string;
  /** kernel.unprivileged_userns_clone (Debian). Null where there is no such setting. */
  readonly unprivilegedUserns: string | null;
  /** user.max_user_namespaces */
  readonly maxUserNamespaces: string | null;
  /** kernel.apparmor_restrict_unprivileged_userns (Ubuntu) */
  readonly appArmorRestrictsUserns: string | null;
}

export interface Advice {
  readonly what: string;
  readonly fix: string;
}

const APPARMOR_PROFILE = `abi <abi/4.0>,
include <tunables/global>
profile bwrap /usr/bin/bwrap flags=(unconfined) {
  userns,
}`;

const CONTAINER_FIXES = {
  docker:
    'Start the container with --security-opt seccomp=<profile that allows clone, unshare, mount and pivot_root> --security-opt systempaths=unconfined (docker-compose.yml of this project does), and where AppArmor is in force --security-opt apparmor=unconfined.',
  podman:
    'Start the container with --security-opt seccomp=<profile that allows clone, unshare, mount and pivot_root> --security-opt unmask=ALL.',
  kubernetes:
    'Give the pod hostUsers: false and its container securityContext.procMount: Unmasked with a seccompProfile that allows clone, unshare, mount and pivot_root; or run it under a gVisor RuntimeClass.',
} as const;

/** `said` is what bubblewrap, or the probe inside, complained. */
export function adviseOnFailure(said: string, traits: HostTraits): Advice {
  if (traits.maxUserNamespaces === '0') {
    return {
      what: 'user namespaces are switched off (user.max_user_namespaces=0)',
      fix: 'Run: sysctl -w user.max_user_namespaces=15000, and keep it in /etc/sysctl.d/.',
    };
  }
  if (traits.unprivilegedUserns === '0' && !traits.isRoot) {
    return {
      what: 'ordinary users may not make user namespaces (kernel.unprivileged_userns_clone=0)',
      fix: 'Run: sysctl -w kernel.unprivileged_userns_clone=1, and keep it in /etc/sysctl.d/.',
    };
  }
  if (/Can't mount proc|mount \/proc/.test(said) && traits.container) {
    return {
      what: 'the container masks parts of /proc, so no fresh one may be mounted',
      fix: CONTAINER_FIXES[traits.container],
    };
  }
  if (traits.appArmorRestrictsUserns === '1' && !traits.container) {
    return {
      what: 'AppArmor keeps bubblewrap from using user namespaces (kernel.apparmor_restrict_unprivileged_userns=1)',
      fix: `Write this to /etc/apparmor.d/bwrap and run: apparmor_parser -r /etc/apparmor.d/bwrap\n${APPARMOR_PROFILE}`,
    };
  }
  if (traits.container) {
    return {
      what: `the container may not make user namespaces (${firstLine(said)})`,
      fix: CONTAINER_FIXES[traits.container],
    };
  }
  return {
    what: `bubblewrap could not make a sandbox (${firstLine(said)})`,
    fix: 'Try it by hand: bwrap --unshare-all --ro-bind / / --proc /proc --dev /dev true. User namespaces have to be allowed by kernel, sysctl and security module.',
  };
}

/** What keeps each way from being used, by its name. */
export type Against = Readonly<Record<string, string>>;

const CGROUP_FIXES = {
  docker:
    'Start the container with a writable /sys/fs/cgroup of its own: --cgroupns=private -v /sys/fs/cgroup:/sys/fs/cgroup:rw, or --privileged.',
  podman:
    'Start the container with --cgroupns=private and --security-opt unmask=/sys/fs/cgroup, its cgroup delegated to it.',
  kubernetes:
    'Let the container write its own cgroup: cgroup_writable in the runtime (containerd 2.1 and newer), or a privileged container. The limits of the pod hold all sessions together meanwhile.',
} as const;

/** Where tasks run, and their limits do not rest on control groups. */
export function adviseOnCgroups(against: Against, { isRoot, container }: HostTraits): Advice {
  const fix = container
    ? CGROUP_FIXES[container]
    : isRoot
      ? 'Mount cgroup v2 at /sys/fs/cgroup, writable, and run the service as a systemd unit with Delegate=yes.'
      : 'Run the service as a systemd unit with Delegate=yes (see docs/operations.md), or as root.';
  return {
    what: `no control group can be used, so that memory is limited for each process only, and CPU not at all (${told(against)})`,
    fix,
  };
}

/** Where no more than a watcher holds workspaces to their size. */
export function adviseOnDisks(against: Against, { isRoot, container }: HostTraits): Advice {
  const fix = !isRoot
    ? 'Run the service as root, or give DATA_DIR a file system of its own that may be filled.'
    : container
      ? 'Put DATA_DIR on a volume with project quotas, or give the container CAP_SYS_ADMIN, /dev/loop-control and the loop devices.'
      : 'Mount the file system of DATA_DIR with prjquota (XFS: pquota), or run: apt-get install e2fsprogs; modprobe loop.';
  return {
    what: `the kernel does not hold workspaces to their size, a watcher does (${told(against)})`,
    fix,
  };
}

const told = (against: Against) =>
  Object.entries(against)
    .map(([way, why]) => `${way}: ${firstLine(why)}`)
    .join('; ');

const firstLine = (text: string) => text.trim().split('\n')[0]?.slice(0, 300) || 'it gave no reason';

export function readHostTraits(isRoot: boolean): HostTraits {
  return {
    isRoot,
    container: findContainer(),
    distribution: /^ID="?([\w.-]+)/m.exec(readOrNull('/etc/os-release') ?? '')?.[1] ?? 'unknown',
    unprivilegedUserns: readOrNull('/proc/sys/kernel/unprivileged_userns_clone'),
    maxUserNamespaces: readOrNull('/proc/sys/user/max_user_namespaces'),
    appArmorRestrictsUserns: readOrNull('/proc/sys/kernel/apparmor_restrict_unprivileged_userns'),
  };
}

function findContainer(): HostTraits['container'] {
  if (existsSync('/var/run/secrets/kubernetes.io') || process.env.KUBERNETES_SERVICE_HOST)
    return 'kubernetes';
  if (existsSync('/run/.containerenv')) return 'podman';
  return existsSync('/.dockerenv') ? 'docker' : null;
}

function readOrNull(path: string): string | null {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return null;
  }
}
