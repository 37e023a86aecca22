import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { DENIED_CALLS, seccompFilter } from '../../src/sandbox/seccomp.js';

const ALLOW = 0x7fff0000;
const KILL = 0x80000000;
const errno = (code: number) => 0x00050000 | code;
const EPERM = errno(1);
const ENOSYS = errno(38);
const EAFNOSUPPORT = errno(97);
const AUDIT_ARCH = { x64: 0xc000003e, arm64: 0xc00000b7 };

/** What the kernel would answer: classic BPF over `struct seccomp_data`. */
function judge(filter: Buffer, arch: number, number: number, args: readonly number[] = []): number {
  const data = Buffer.alloc(64);
  data.writeUInt32LE(number, 0);
  data.writeUInt32LE(arch, 4);
  args.forEach((arg, index) => {
    data.writeBigUInt64LE(BigInt.asUintN(64, BigInt(arg)), 16 + index * 8);
  });
  let accumulator = 0;
  for (let at = 0; at * 8 < filter.length; at += 1) {
    const code = filter.readUInt16LE(at * 8);
    const value = filter.readUInt32LE(at * 8 + 4);
    const skip = (holds: boolean) => filter.readUInt8(at * 8 + (holds ? 2 : 3));
    if (code === 0x20) accumulator = data.readUInt32LE(value);
    else if (code === 0x06) return value;
    else if (code === 0x15) at += skip(accumulator === value);
    else if (code === 0x35) at += skip(accumulator >= value);
    else if (code === 0x45) at += skip((accumulator & value) !== 0);
    else throw new Error(`unknown BPF instruction 0x${code.toString(16)}`);
  }
  throw new Error('the filter ran off its end');
}

for (const arch of ['x64', 'arm64'] as const) {
  const column = arch === 'x64' ? 0 : 1;
  const call = {
    clone: [56, 220],
    clone3: [435, 435],
    personality: [135, 92],
    ioctl: [16, 29],
    socket: [41, 198],
    setsockopt: [54, 208],
    socketpair: [53, 199],
    io_setup: [206, 0],
  };
  const filter = seccompFilter(arch, { sockets: true });
  const ask = (number: number, ...args: number[]) => judge(filter, AUDIT_ARCH[arch], number, args);
  const askAbout = (name: keyof typeof call, ...args: number[]) => ask(call[name][column]!, ...args);

  t.test(`on ${arch} every listed call is refused`, async (t) => {
    for (const [name, numbers] of Object.entries(DENIED_CALLS)) {
      const number = numbers[column];
      if (typeof number === 'number') t.equal(ask(number), EPERM, name);
    }
  });

  t.test(`on ${arch} every other call is let through`, async (t) => {
    const listed = new Set([
      ...Object.values(DENIED_CALLS).map((numbers) => numbers[column]),
      ...Object.values(call).map((numbers) => numbers[column]),
    ]);
    const refused = [];
    for (let number = 0; number < 600; number += 1) {
      if (!listed.has(number) && ask(number) !== ALLOW) refused.push(number);
    }
    t.same(refused, []);
  });

  t.test(`on ${arch} threads and forks are allowed and new namespaces are not`, async (t) => {
    const threadFlags = 0x3d0f00;
    const sigchld = 17;
    t.equal(askAbout('clone', threadFlags), ALLOW);
    t.equal(askAbout('clone', sigchld), ALLOW);
    for (const flag of [0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000]) {
      t.equal(askAbout('clone', flag | sigchld), EPERM, `0x${flag.toString(16)}`);
    }
    t.equal(askAbout('clone3'), ENOSYS, 'so that glibc falls back to clone');
  });

  t.test(`on ${arch} only the usual socket families can be made`, async (t) => {
    const [unix, inet, inet6, netlink, packet, alg, vsock] = [1, 2, 10, 16, 17, 38, 40];
    for (const family of [unix, inet, inet6]) t.equal(askAbout('socket', family!, 1, 0), ALLOW);
    for (const family of [packet, alg, vsock, 0, 255])
      t.equal(askAbout('socket', family!, 1, 0), EAFNOSUPPORT);
    t.equal(askAbout('socket', netlink!, 3, 0), ALLOW, 'NETLINK_ROUTE');
    t.equal(askAbout('socket', netlink!, 3, 12), EAFNOSUPPORT, 'NETLINK_NETFILTER');
    for (const protocol of [0, 6, 17]) t.equal(askAbout('socket', inet!, 1, protocol), ALLOW);
    for (const protocol of [132, 136, 262]) {
      t.equal(askAbout('socket', inet6!, 1, protocol), errno(93), `protocol ${protocol}`);
    }
    t.equal(askAbout('socketpair', unix!, 1, 0), ALLOW);
    for (const family of [inet, netlink, 30]) t.equal(askAbout('socketpair', family!, 1, 0), EAFNOSUPPORT);
    const withoutSockets = seccompFilter(arch, { sockets: false });
    for (const family of [unix, inet, inet6, netlink]) {
      t.equal(judge(withoutSockets, AUDIT_ARCH[arch], call.socket[column]!, [family!, 1, 0]), EAFNOSUPPORT);
    }
  });

  t.test(`on ${arch} buffer sizes of sockets stay as they are`, async (t) => {
    const [socketLevel, tcpLevel, reuseAddress, sendBuffer, receiveBuffer] = [1, 6, 2, 7, 8];
    t.equal(askAbout('setsockopt', 3, socketLevel!, sendBuffer!), errno(0));
    t.equal(askAbout('setsockopt', 3, socketLevel!, receiveBuffer!), errno(0));
    t.equal(askAbout('setsockopt', 3, socketLevel!, 18), errno(0), 'SO_RCVLOWAT');
    t.equal(askAbout('setsockopt', 3, socketLevel!, reuseAddress!), ALLOW);
    t.equal(
      askAbout('setsockopt', 3, tcpLevel!, sendBuffer!),
      ALLOW,
      'the same number means something else there',
    );
  });

  t.test(`on ${arch} what sockets keep of the kernel's memory is not to be had`, async (t) => {
    for (const option of [26, 50, 51, 52]) t.equal(askAbout('setsockopt', 3, 1, option), EPERM);
    for (const option of [35, 39, 41, 42, 46, 48]) t.equal(askAbout('setsockopt', 3, 0, option), errno(19));
    for (const option of [20, 27, 42, 46, 48]) t.equal(askAbout('setsockopt', 3, 41, option), errno(19));
    t.equal(askAbout('setsockopt', 3, 41, 32), EPERM, 'flow labels');
    t.equal(askAbout('setsockopt', 3, 41, 26), ALLOW, 'IPV6_V6ONLY');
    t.equal(askAbout('io_setup', 1), ENOSYS);
  });

  t.test(`on ${arch} personality and terminal input are narrowed`, async (t) => {
    t.equal(askAbout('personality', 0), ALLOW);
    t.equal(askAbout('personality', 0xffffffff), ALLOW, 'asking is free');
    t.equal(askAbout('personality', 0x0400000), EPERM, 'READ_IMPLIES_EXEC');
    t.equal(askAbout('ioctl', 0, 0x5401), ALLOW, 'TCGETS');
    t.equal(askAbout('ioctl', 0, 0x5412), EPERM, 'TIOCSTI');
    t.equal(askAbout('ioctl', 0, 0x541c), EPERM, 'TIOCLINUX');
    t.equal(
      askAbout('ioctl', 0, 2 ** 32 + 0x5412),
      EPERM,
      'the kernel ignores the upper half, so must the filter',
    );
  });

  t.test(`on ${arch} the calls of another architecture end the process`, async (t) => {
    const i386 = 0x40000003;
    t.equal(judge(filter, i386, 1), KILL);
    t.equal(judge(filter, AUDIT_ARCH[arch === 'x64' ? 'arm64' : 'x64'], 1), KILL);
  });
}

t.test('the x32 calls do not exist', async (t) => {
  const filter = seccompFilter('x64', { sockets: true });
  t.equal(judge(filter, AUDIT_ARCH.x64, 0x40000000 + 101), ENOSYS);
  t.equal(judge(filter, AUDIT_ARCH.x64, 0xffffffff), ENOSYS);
});

t.test('an unknown architecture is refused instead of being left without a filter', async (t) => {
  t.throws(() => seccompFilter('riscv64', { sockets: true }), /riscv64/);
});

// All capabilities in a user namespace of its own, so that without the filter many of the calls would be allowed.
async function pythonInNamespace(code: string, filter: Buffer | null) {
  const child = spawn(
    'bwrap',
    [
      ...['--unshare-all', '--uid', '0', '--gid', '0', '--cap-add', 'ALL', '--die-with-parent'],
      ...['--ro-bind', '/', '/', '--proc', '/proc', '--dev', '/dev', '--tmpfs', '/tmp'],
      ...(filter ? ['--seccomp', '3'] : []),
      ...['--', '/usr/bin/python3', '-I', '-c', code],
    ],
    { stdio: ['ignore', 'pipe', 'pipe', 'pipe'], env: {} },
  );
  const pipe = child.stdio[3] as NodeJS.WritableStream;
  pipe.on('error', () => {});
  pipe.end(filter ?? Buffer.alloc(0));
  const [stdout, stderr] = await Promise.all([
    text(child.stdout!),
    text(child.stderr!),
    once(child, 'close'),
  ]);
  return { stdout, stderr };
}

const column = process.arch === 'x64' ? 0 : 1;
const numbers = Object.fromEntries(
  Object.entries(DENIED_CALLS).flatMap(([name, pair]) =>
    typeof pair[column] === 'number' ? [[name, pair[column]]] : [],
  ),
);

const tryCalls = (names: readonly string[]) => `
import ctypes, errno, json
libc = ctypes.CDLL(None, use_errno=True)
answers = {}
for name, number in ${JSON.stringify(Object.fromEntries(names.map((name) => [name, numbers[name]])))}.items():
    ctypes.set_errno(0)
    answers[name] = errno.errorcode.get(ctypes.get_errno(), 'OK') if libc.syscall(number, -1, 0, 0, 0, 0, 0) < 0 else 'OK'
print(json.dumps(answers))`;

const harmless = ['ptrace', 'keyctl', 'mount', 'chroot', 'setns', 'process_vm_readv', 'userfaultfd', 'mbind'];

const noNamespaces = await pythonInNamespace('print("ok")', null).then(
  ({ stdout, stderr }) => (stdout.trim() === 'ok' ? false : `no user namespace here: ${stderr}`),
  (error: Error) => `bwrap cannot be started: ${error.message}`,
);

t.test('the kernel refuses each listed call under the filter', { skip: noNamespaces }, async (t) => {
  const filter = seccompFilter(process.arch, { sockets: true });
  const { stdout, stderr } = await pythonInNamespace(tryCalls(Object.keys(numbers)), filter);
  t.equal(stderr, '');
  for (const [name, answer] of Object.entries(JSON.parse(stdout))) t.equal(answer, 'EPERM', name);
});

t.test('without the filter the kernel answers those calls otherwise', { skip: noNamespaces }, async (t) => {
  const { stdout } = await pythonInNamespace(tryCalls(harmless), null);
  for (const [name, answer] of Object.entries(JSON.parse(stdout))) t.not(answer, 'EPERM', name);
});

t.test('threads, processes, sockets and sqlite work under the filter', { skip: noNamespaces }, async (t) => {
  const { stdout, stderr } = await pythonInNamespace(
    `
import asyncio, multiprocessing, socket, sqlite3, subprocess, threading
def square(x): return x * x
seen = []
thread = threading.Thread(target=lambda: seen.append('thread')); thread.start(); thread.join()
seen.append(subprocess.run(['/bin/echo', 'child'], capture_output=True, text=True).stdout.strip())
with multiprocessing.get_context('fork').Pool(2) as pool: seen.append(pool.map(square, [1, 2, 3]))
server = socket.create_server(('127.0.0.1', 0)); client = socket.create_connection(server.getsockname())
client.send(b'tcp'); seen.append(server.accept()[0].recv(3).decode())
a, b = socket.socketpair(); a.send(b'pair'); seen.append(b.recv(4).decode())
seen.append(asyncio.run(asyncio.sleep(0, 'asyncio')))
seen.append(sqlite3.connect(':memory:').execute('select 1').fetchone()[0])
seen.append(len(socket.if_nameindex()) > 0)
print(seen)`,
    seccompFilter(process.arch, { sockets: true }),
  );
  t.equal(stderr, '');
  t.equal(stdout.trim(), "['thread', 'child', [1, 4, 9], 'tcp', 'pair', 'asyncio', 1, True]");
});

t.test(
  'mem_socket_buffers: a program cannot blow its socket buffers up',
  { skip: noNamespaces },
  async (t) => {
    const { stdout } = await pythonInNamespace(
      `
import socket
a, b = socket.socketpair(); a.setblocking(False)
before = a.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 26)
a.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
print(a.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == before, a.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))`,
      seccompFilter(process.arch, { sockets: true }),
    );
    t.equal(stdout.trim(), 'True 1');
  },
);

t.test('without sockets none can be made, pairs still can', { skip: noNamespaces }, async (t) => {
  const { stdout } = await pythonInNamespace(
    `
import socket
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK):
    try: socket.socket(family, socket.SOCK_STREAM); print('made')
    except OSError as error: print(error.errno)
a, b = socket.socketpair(); a.send(b'x'); print(b.recv(1).decode())`,
    seccompFilter(process.arch, { sockets: false }),
  );
  t.same(stdout.trim().split('\n'), ['97', '97', '97', '97', 'x']);
});
