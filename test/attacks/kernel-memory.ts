// What a program can make the kernel hold for it, kind by kind: each tries to hold several times the session's memory in
// many processes. It counts towards the session and ends the program, or is refused, or has a bound of its own.
import t from 'tap';
import { MIB, run, sandboxSpec, startDriver } from '../helpers/sandboxes.js';

const MEMORY = 64 * MIB;
const PROCESSES = 8;

/** `hold` returns what it holds and how many bytes that is, until the kernel refuses. */
const PRELUDE = `
import ctypes, errno, fcntl, os, select, signal, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def check(result):
    if result < 0: raise OSError(ctypes.get_errno(), 'refused')
    return result
def fill(fd, write, most=64 << 20):
    total = 0
    try:
        while total < most: total += write(b'x' * 65536)
    except OSError: pass
    return total
def datagrams(s):
    for _ in range(100): s.sendto(b'x' * 1024, s.getsockname())
    return struct.unpack_from('I', s.getsockopt(1, 55, 36))[0]  # SO_MEMINFO: what was too much is lost without a word
def tcp():
    server = socket.create_server(('127.0.0.1', 0), backlog=4096)
    client = socket.create_connection(server.getsockname())
    accepted, _ = server.accept()
    server.close()
    return client, accepted
`;

/** Each process holds what it can and waits; the sum is printed once all do. What is counted at once has had its effect
 *  by then; what is watched is looked at a few times a second. */
const SPREAD = `
import time
read, write = os.pipe(); wait, go_on = os.pipe()
most = int(sys.argv[1]) // ${PROCESSES}
signal.signal(signal.SIGCHLD, lambda *_: os._exit(3))  # memory ran out for one of them
for _ in range(${PROCESSES}):
    if os.fork(): continue
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    held, total, why = [], 0, 'enough'
    os.close(go_on)
    try:
        while total < most:
            thing, size = hold()
            held.append(thing); total += size
            if size == 0: break
    except OSError as error: why = errno.errorcode[error.errno]
    os.write(write, b'%d %s\\n' % (total, why.encode()))
    os.read(wait, 1)
    os._exit(0)
os.close(wait)
source = os.fdopen(read)
said = [source.readline().split() for _ in range(${PROCESSES})]
print(sum(int(total) for total, _ in said), *sorted({why for _, why in said}), flush=True)
if sys.argv[2] == 'watched': time.sleep(60)
`;

interface Kind {
  readonly hold: string;
  /** Nothing of it can be had: the error of the first try. */
  readonly refused?: string;
  /** A bound of its own, whatever the session's memory is. */
  readonly mostBytes?: number;
  /** Is found by looking. */
  readonly isWatched?: true;
}

const KINDS: Readonly<Record<string, Kind>> = {
  'a netlink socket full of answers': {
    hold: `
    s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); s.setblocking(False)
    for _ in range(400): s.send(struct.pack('=IHHII', 16, 999, 5, 1, 0))
    return s, 208 << 10`,
    mostBytes: (64 + 2 * PROCESSES) * 208 * 1024,
  },
  'a netlink socket that is used later': {
    hold: `return socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM), 208 << 10`,
    mostBytes: (64 + 2 * PROCESSES) * 208 * 1024,
  },
  'UDP on IPv4': {
    hold: `
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.1', 0)); s.setblocking(False)
    return s, datagrams(s)`,
  },
  'UDP on IPv6': {
    hold: `
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind(('::1', 0)); s.setblocking(False)
    return s, datagrams(s)`,
  },
  'TCP connections whose ends read nothing': {
    hold: `
    pair = tcp()
    for s in pair: s.setblocking(False)
    return pair, sum(fill(s, s.send) for s in pair)`,
    isWatched: true,
  },
  'TCP connections that nobody has accepted': {
    hold: `
    server = socket.create_server(('127.0.0.1', 0), backlog=4096); total = 0
    for _ in range(2000):
        s = socket.socket(); s.setblocking(False); s.connect_ex(server.getsockname())
        total += fill(s, s.send); s.close()
    return server, total`,
    isWatched: true,
  },
  'TCP connections that nobody has accepted, on IPv6 and in small pieces': {
    hold: `
    server = socket.create_server(('::1', 0), family=socket.AF_INET6, backlog=4096)
    for _ in range(2000):
        s = socket.socket(socket.AF_INET6); s.setsockopt(6, 1, 1); s.setblocking(False); s.connect_ex(server.getsockname())
        try:
            for _ in range(40): s.send(b'x')
        except OSError: pass
        s.close()
    return server, 8 << 20`,
    isWatched: true,
  },
  'Unix stream sockets': {
    hold: `
    pair = socket.socketpair(); pair[0].setblocking(False)
    return pair, fill(pair[0], pair[0].send)`,
  },
  'Unix datagram sockets': {
    hold: `
    pair = socket.socketpair(type=socket.SOCK_DGRAM); pair[0].setblocking(False)
    return pair, fill(pair[0], lambda data: pair[0].send(data[:8192]))`,
  },
  'socket buffers made larger': {
    hold: `
    pair = socket.socketpair(); pair[0].setblocking(False)
    for option in (7, 8, 32, 33):
        try: pair[0].setsockopt(1, option, 64 << 20)
        except OSError: pass
    total = fill(pair[0], pair[0].send)
    return pair, total`,
  },
  'pipes made larger': {
    hold: `
    ends = os.pipe(); os.set_blocking(ends[1], False)
    try: fcntl.fcntl(ends[1], 1031, 1 << 20)
    except OSError: pass
    return ends, fill(ends, lambda data: os.write(ends[1], data))`,
  },
  'filters on sockets': {
    hold: `
    code = ctypes.create_string_buffer(struct.pack('=HBBI', 6, 0, 0, 0) * 2000)
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    s.setsockopt(1, 26, struct.pack('@HP', 2000, ctypes.addressof(code))); return s, 16000`,
    refused: 'EPERM',
  },
  'multicast groups': {
    hold: `
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    for n in range(3000): s.setsockopt(41, 20, struct.pack('=QIII', 0x02ff, os.getpid(), n, 1))
    return s, 3000 * 300`,
    refused: 'ENODEV',
  },
  'protocols that bring sockets of the kernel with them': {
    hold: `return socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262), 8192`,
    refused: 'EPROTONOSUPPORT',
  },
  'packet sockets': { hold: `return socket.socket(17, socket.SOCK_DGRAM, 0), 4096`, refused: 'EAFNOSUPPORT' },
  'contexts of asynchronous input and output': {
    hold: `
    context = ctypes.c_ulong(0)
    check(libc.syscall({'x86_64': 206, 'aarch64': 0}[os.uname().machine], 1000, ctypes.byref(context))); return context, 65536`,
    refused: 'ENOSYS',
  },
  io_uring: { hold: `return check(libc.syscall(425, 8, bytes(120))), 65536`, refused: 'EPERM' },
  keys: {
    hold: `return check(libc.syscall({'x86_64': 248, 'aarch64': 217}[os.uname().machine], b'user', b'k', b'v', 1, -3)), 1`,
    refused: 'EPERM',
  },
  'memory files': { hold: `f = os.memfd_create('x'); return f, os.write(f, bytes(8 << 20))` },
  'shared memory of System V': {
    hold: `
    libc.shmat.restype = ctypes.c_void_p
    i = check(libc.shmget(0, 8 << 20, 0o1600)); at = ctypes.c_void_p(libc.shmat(i, None, 0))
    ctypes.memset(at, 1, 8 << 20); libc.shmdt(at); return i, 8 << 20`,
  },
  'messages of System V': {
    hold: `
    q = check(libc.msgget(0, 0o1600)); message = b'\\1' + bytes(8200); total = 0
    while libc.msgsnd(q, message, 8000, 0o4000) == 0: total += 8000
    return q, total`,
  },
  'semaphores of System V': { hold: `return check(libc.semget(0, 30000, 0o1600)), 30000 * 64` },
  'messages of POSIX': {
    hold: `
    libc.mq_open.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p]
    fd = check(libc.syscall({'x86_64': 240, 'aarch64': 180}[os.uname().machine], b'%d' % os.getpid() + os.urandom(4).hex().encode(), 0o102, 0o600, struct.pack('@8l', 0, 10, 8192, 0, 0, 0, 0, 0)))
    return fd, 10 * 8192`,
  },
  'watched descriptors': {
    hold: `
    events = [check(libc.eventfd(0, 0)) for _ in range(200)]; polls = [select.epoll() for _ in range(200)]
    for poll in polls:
        for event in events: poll.register(event, 1)
    return (events, polls), 200 * 200 * 160`,
  },
  'queued signals': {
    hold: `
    signal.pthread_sigmask(signal.SIG_BLOCK, [40])
    libc.sigqueue.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_void_p]
    for _ in range(1000): check(libc.sigqueue(os.getpid(), 40, None))
    return None, 1000 * 80`,
  },
  'pseudo-terminals': { hold: `return os.openpty(), 1`, mostBytes: 64 },
  'filters of system calls': {
    hold: `
    code = ctypes.create_string_buffer(struct.pack('=HBBI', 6, 0, 0, 0x7fff0000) * 4000)
    check(libc.prctl(22, ctypes.c_ulong(2), struct.pack('@HP', 4000, ctypes.addressof(code)), 0, 0)); return code, 4000 * 24`,
  },
};

// Two dozen programs that do their worst, on a machine that may be busy.
t.setTimeout(300_000);

t.test(
  'no kind of memory of the kernel is held beyond what the session has',
  { timeout: 300_000 },
  async (t) => {
    const driver = await startDriver(t);
    const spec = sandboxSpec();
    const sandbox = await driver.create({ ...spec, limits: { ...spec.limits, memoryBytes: MEMORY } });
    for (const [name, { hold, refused, mostBytes = 1.5 * MEMORY, isWatched }] of Object.entries(KINDS)) {
      await t.test(name, { timeout: 120_000 }, async (t) => {
        const code = `${PRELUDE}def hold():\n    ${hold.trim()}\n${SPREAD}`;
        const args = [String(8 * MEMORY), isWatched ? 'watched' : 'counted'];
        const { end, stdout, stderr } = await run(sandbox, { kind: 'python', code, args });
        if (end.limit === 'outOfMemory') {
          t.pass(`it ended for it, after ${stdout}`);
          return;
        }
        t.equal(stderr, '');
        const [bytes, ...why] = stdout.trim().split(' ');
        t.match(bytes, /^\d+$/);
        t.ok(Number(bytes) <= mostBytes, `${bytes} bytes are held; then ${why}`);
        if (refused) t.same([bytes, ...why], ['0', refused]);
      });
    }
    const { stdout } = await run(sandbox, 'print("fine")');
    t.equal(stdout, 'fine\n', 'and the next program works');
    await sandbox.remove();
  },
);
