// A seccomp filter, assembled here as classic BPF: no compiler, no libseccomp. It is a deny-list on purpose: an
// allow-list breaks wheels at every glibc update, and the namespaces carry the weight; this trims what is left of the
// kernel to attack. The bytes are an array of `struct sock_filter`, as `bwrap --seccomp` and prctl(2) take it.

const AUDIT_ARCH = { x64: 0xc000003e, arm64: 0xc00000b7 } as const;
type FilterArch = keyof typeof AUDIT_ARCH;

/** Refused with EPERM, whatever the arguments: name → number on [x64, arm64], null where the call does not exist. */
export const DENIED_CALLS: Readonly<Record<string, readonly [number | null, number | null]>> = {
  // other processes
  ptrace: [101, 117],
  process_vm_readv: [310, 270],
  process_vm_writev: [311, 271],
  process_madvise: [440, 440],
  pidfd_getfd: [438, 438],
  kcmp: [312, 272],
  // large and often attacked parts of the kernel
  bpf: [321, 280],
  perf_event_open: [298, 241],
  userfaultfd: [323, 282],
  io_uring_setup: [425, 425],
  io_uring_enter: [426, 426],
  io_uring_register: [427, 427],
  keyctl: [250, 219],
  add_key: [248, 217],
  request_key: [249, 218],
  memfd_secret: [447, 447],
  // mounts and namespaces (clone and clone3 are judged by their flags below)
  mount: [165, 40],
  umount2: [166, 39],
  pivot_root: [155, 41],
  chroot: [161, 51],
  open_tree: [428, 428],
  open_tree_attr: [467, 467],
  move_mount: [429, 429],
  mount_setattr: [442, 442],
  fsopen: [430, 430],
  fsconfig: [431, 431],
  fsmount: [432, 432],
  fspick: [433, 433],
  unshare: [272, 97],
  setns: [308, 268],
  // the machine itself
  kexec_load: [246, 104],
  kexec_file_load: [320, 294],
  init_module: [175, 105],
  finit_module: [313, 273],
  delete_module: [176, 106],
  swapon: [167, 224],
  swapoff: [168, 225],
  reboot: [169, 142],
  syslog: [103, 116],
  acct: [163, 89],
  quotactl: [179, 60],
  quotactl_fd: [443, 443],
  settimeofday: [164, 170],
  clock_settime: [227, 112],
  adjtimex: [159, 171],
  clock_adjtime: [305, 266],
  sethostname: [170, 161],
  setdomainname: [171, 162],
  vhangup: [153, 58],
  iopl: [172, null],
  ioperm: [173, null],
  modify_ldt: [154, null],
  // files by handle, and watching whole mounts
  name_to_handle_at: [303, 264],
  open_by_handle_at: [304, 265],
  fanotify_init: [300, 262],
  fanotify_mark: [301, 263],
  // placing memory
  mbind: [237, 235],
  set_mempolicy: [238, 237],
  set_mempolicy_home_node: [450, 450],
  migrate_pages: [256, 238],
  move_pages: [279, 239],
  // obsolete
  lookup_dcookie: [212, 18],
  nfsservctl: [180, 42],
  uselib: [134, null],
  ustat: [136, null],
  sysfs: [139, null],
  _sysctl: [156, null],
};

/** Judged by their arguments. */
const JUDGED_CALLS = {
  clone: [56, 220],
  clone3: [435, 435],
  personality: [135, 92],
  ioctl: [16, 29],
  socket: [41, 198],
  socketpair: [53, 199],
  setsockopt: [54, 208],
  // Contexts come out of one pool of the whole host (fs.aio-max-nr), which a session could use up.
  io_setup: [206, 0],
} as const;
const ABSENT_CALLS = new Set(['clone3', 'io_setup']);

const CLONE_NEW_ANY = 0x7e020000;
const TIOCSTI = 0x5412;
const TIOCLINUX = 0x541c;
const AF = { UNIX: 1, INET: 2, INET6: 10, NETLINK: 16 } as const;
const NETLINK_ROUTE = 0;
/** Any, ICMP, TCP, UDP and ICMPv6. Others (MPTCP, SCTP, UDP-Lite …) are little used and load modules of the kernel. */
const USUAL_PROTOCOLS = [0, 1, 6, 17, 58];

// Options by their level. Memory in socket buffers is the kernel's, and not all of it is counted for somebody. A size is a
// hint that the kernel itself cuts without a word, so a program that gives one is told that all is well and keeps the
// usual size; SO_RCVLOWAT makes buffers grow as well.
const SOL_SOCKET = 1;
const SIZES = { SO_SNDBUF: 7, SO_RCVBUF: 8, SO_RCVLOWAT: 18 };
// Programs of the kernel's that socket buffers are filtered with are kept twice, once uncounted.
const FILTERS = {
  SO_ATTACH_FILTER: 26,
  SO_ATTACH_BPF: 50,
  SO_ATTACH_REUSEPORT_CBPF: 51,
  SO_ATTACH_REUSEPORT_EBPF: 52,
};
// Multicast groups are uncounted, thousands of them for one socket, and lead nowhere on loopback.
const SOL_IP = 0;
const JOIN = { MCAST_JOIN_GROUP: 42, MCAST_JOIN_SOURCE_GROUP: 46, MCAST_MSFILTER: 48 };
const JOIN_IP = { ...JOIN, IP_ADD_MEMBERSHIP: 35, IP_ADD_SOURCE_MEMBERSHIP: 39, IP_MSFILTER: 41 };
const SOL_IPV6 = 41;
const JOIN_IPV6 = { ...JOIN, IPV6_JOIN_GROUP: 20, IPV6_JOIN_ANYCAST: 27 };
// Labels come out of one pool of the whole host.
const IPV6_FLOWLABEL_MGR = 32;
const X32_BIT = 0x40000000;

const EPERM = 1;
const ENODEV = 19;
const ENOSYS = 38;
const EPROTONOSUPPORT = 93;
const EAFNOSUPPORT = 97;

// `struct seccomp_data`; arguments are 64 bit wide, little-endian, and the kernel looks only at the low half of those used here.
const OFFSET = { number: 0, arch: 4, arg0: 16, arg1: 24, arg2: 32 } as const;

const BPF = { load: 0x20, jumpEqual: 0x15, jumpAtLeast: 0x35, jumpAnyBit: 0x45, return: 0x06 } as const;
const VERDICT = { allow: 0x7fff0000, killProcess: 0x80000000, errno: (code: number) => 0x00050000 | code };

interface Instruction {
  readonly code: number;
  readonly value: number;
  /** Where a jump goes when it holds; when it does not, it falls through to the next instruction. */
  readonly target?: string;
}

/** The filter for one architecture; without `sockets` no socket can be made at all (pairs still can). */
export function seccompFilter(arch: NodeJS.Architecture, options: { sockets: boolean }): Buffer {
  if (!isFilterArch(arch)) throw new Error(`there is no seccomp filter for the architecture ${arch}`);
  const column = arch === 'x64' ? 0 : 1;
  const program: (Instruction | string)[] = [
    load(OFFSET.arch),
    jump(BPF.jumpEqual, AUDIT_ARCH[arch], 'known architecture'),
    verdict(VERDICT.killProcess),
    'known architecture',
    load(OFFSET.number),
    // The x32 calls have numbers of their own, so all of them go.
    ...(arch === 'x64' ? [jump(BPF.jumpAtLeast, X32_BIT, 'no such call')] : []),
    ...Object.entries(JUDGED_CALLS).map(([name, numbers]) =>
      jump(BPF.jumpEqual, numbers[column], ABSENT_CALLS.has(name) ? 'no such call' : name),
    ),
    ...Object.values(DENIED_CALLS).flatMap((numbers) => {
      const number = numbers[column];
      return typeof number === 'number' ? [jump(BPF.jumpEqual, number, 'not permitted')] : [];
    }),
    'allow',
    verdict(VERDICT.allow),
    'not permitted',
    verdict(VERDICT.errno(EPERM)),
    // glibc falls back from clone3, whose flags a filter cannot see, to clone.
    'no such call',
    verdict(VERDICT.errno(ENOSYS)),

    'clone',
    load(OFFSET.arg0),
    jump(BPF.jumpAnyBit, CLONE_NEW_ANY, 'no new namespace'),
    verdict(VERDICT.allow),
    'no new namespace',
    verdict(VERDICT.errno(EPERM)),

    'personality',
    load(OFFSET.arg0),
    jump(BPF.jumpEqual, 0, 'usual personality'),
    jump(BPF.jumpEqual, 0xffffffff, 'usual personality'),
    verdict(VERDICT.errno(EPERM)),
    'usual personality',
    verdict(VERDICT.allow),

    'ioctl',
    load(OFFSET.arg1),
    jump(BPF.jumpEqual, TIOCSTI, 'typing into a terminal'),
    jump(BPF.jumpEqual, TIOCLINUX, 'typing into a terminal'),
    verdict(VERDICT.allow),
    'typing into a terminal',
    verdict(VERDICT.errno(EPERM)),

    ...socketOptions(),

    'socketpair',
    load(OFFSET.arg0),
    jump(BPF.jumpEqual, AF.UNIX, 'pair'),
    verdict(VERDICT.errno(EAFNOSUPPORT)),
    'pair',
    verdict(VERDICT.allow),

    'socket',
    ...(options.sockets ? usualSockets() : []),
    verdict(VERDICT.errno(EAFNOSUPPORT)),
  ];
  return assemble(program);
}

function socketOptions(): (Instruction | string)[] {
  const each = (options: Readonly<Record<string, number>>, target: string) =>
    Object.values(options).map((option) => jump(BPF.jumpEqual, option, target));
  return [
    'setsockopt',
    load(OFFSET.arg1),
    jump(BPF.jumpEqual, SOL_SOCKET, 'socket option'),
    jump(BPF.jumpEqual, SOL_IP, 'IP option'),
    jump(BPF.jumpEqual, SOL_IPV6, 'IPv6 option'),
    verdict(VERDICT.allow),
    'socket option',
    load(OFFSET.arg2),
    ...each(SIZES, 'size'),
    ...each(FILTERS, 'option not permitted'),
    verdict(VERDICT.allow),
    'IP option',
    load(OFFSET.arg2),
    ...each(JOIN_IP, 'group'),
    verdict(VERDICT.allow),
    'IPv6 option',
    load(OFFSET.arg2),
    ...each(JOIN_IPV6, 'group'),
    jump(BPF.jumpEqual, IPV6_FLOWLABEL_MGR, 'option not permitted'),
    verdict(VERDICT.allow),
    'size',
    verdict(VERDICT.errno(0)),
    'group',
    verdict(VERDICT.errno(ENODEV)),
    'option not permitted',
    verdict(VERDICT.errno(EPERM)),
  ];
}

function usualSockets(): (Instruction | string)[] {
  return [
    load(OFFSET.arg0),
    jump(BPF.jumpEqual, AF.UNIX, 'usual socket'),
    jump(BPF.jumpEqual, AF.INET, 'internet'),
    jump(BPF.jumpEqual, AF.INET6, 'internet'),
    jump(BPF.jumpEqual, AF.NETLINK, 'netlink'),
    verdict(VERDICT.errno(EAFNOSUPPORT)),
    'usual socket',
    verdict(VERDICT.allow),
    'internet',
    load(OFFSET.arg2),
    ...USUAL_PROTOCOLS.map((protocol) => jump(BPF.jumpEqual, protocol, 'usual protocol')),
    verdict(VERDICT.errno(EPROTONOSUPPORT)),
    'usual protocol',
    verdict(VERDICT.allow),
    // How many there may be is for the keeper to say (`netlink.py`).
    'netlink',
    load(OFFSET.arg2),
    jump(BPF.jumpEqual, NETLINK_ROUTE, 'usual netlink'),
    verdict(VERDICT.errno(EAFNOSUPPORT)),
    'usual netlink',
    verdict(VERDICT.allow),
  ];
}

const load = (offset: number): Instruction => ({ code: BPF.load, value: offset });
const jump = (code: number, value: number, target: string): Instruction => ({ code, value, target });
const verdict = (value: number): Instruction => ({ code: BPF.return, value });

/** Turns labels (the strings) into distances and instructions into the eight bytes of `struct sock_filter`. */
function assemble(program: readonly (Instruction | string)[]): Buffer {
  const labels = new Map<string, number>();
  const instructions: Instruction[] = [];
  for (const item of program) {
    if (typeof item === 'string') labels.set(item, instructions.length);
    else instructions.push(item);
  }
  const bytes = Buffer.alloc(instructions.length * 8);
  instructions.forEach(({ code, value, target }, index) => {
    const distance = target === undefined ? 0 : (labels.get(target) ?? -1) - index - 1;
    if (distance < 0 || distance > 255)
      throw new Error(`jump to "${target}" is ${distance} instructions long`);
    bytes.writeUInt16LE(code, index * 8);
    bytes.writeUInt8(distance, index * 8 + 2);
    bytes.writeUInt8(0, index * 8 + 3);
    bytes.writeUInt32LE(value >>> 0, index * 8 + 4);
  });
  return bytes;
}

function isFilterArch(arch: string): arch is FilterArch {
  return Object.hasOwn(AUDIT_ARCH, arch);
}
