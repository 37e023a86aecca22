// What a program in a session can find out about its host, asked from inside over REST, one look at a time. Everything
// it sees has to be the sandbox's own; what is known to be visible is listed in docs/isolation.md.
import { execFileSync } from 'node:child_process';
import { createServer } from 'node:net';
import t from 'tap';
import { COPIED_FROM_ETC } from '../../src/sandbox/etc.js';
import { startService, until } from '../helpers/world.js';

const SECRET = `secret-of-the-service-${process.pid}`;
process.env.CODEGEN_TEST_SECRET = SECRET;
const NEIGHBOUR = `neighbour-${process.pid}`;
const ABSTRACT = `codegen-test-${process.pid}`;

interface Look {
  readonly what: string;
  /** Python: an expression; what it gives comes back as JSON, an OSError as its name. */
  readonly code: string;
  readonly check: (seen: unknown, look: string) => boolean;
}

const same =
  (...wanted: readonly unknown[]) =>
  (seen: unknown) =>
    JSON.stringify(seen) === JSON.stringify(wanted.length === 1 ? wanted[0] : wanted);
const oneOf =
  (...wanted: readonly unknown[]) =>
  (seen: unknown) =>
    wanted.includes(seen);
const subsetOf = (wanted: readonly string[]) => (seen: unknown) =>
  Array.isArray(seen) && seen.every((each) => wanted.includes(each));
/** A pattern with `*` at its end stands for every name that begins so. */
const namesOf = (patterns: readonly string[]) => (seen: unknown) =>
  Array.isArray(seen) &&
  seen.every((name: string) =>
    patterns.some((each) => (each.endsWith('*') ? name.startsWith(each.slice(0, -1)) : name === each)),
  );
const empty = (seen: unknown) => Array.isArray(seen) && seen.length === 0;

const PRELUDE = `
import ctypes, errno, glob, json, os, re, resource, signal, socket, stat, sys
def read(path, limit=1 << 20):
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try: return os.read(fd, limit).decode('latin1')
    finally: os.close(fd)
def readable(paths):
    for path in paths:
        try: yield path, read(path)
        except OSError: pass
def files(top):
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if name not in ('task', 'map_files')]
        for name in names:
            if name not in ('pagemap', 'mem', 'clear_refs', 'kpagecount', 'kpageflags', 'kmsg', 'page_owner'):
                yield os.path.join(folder, name)
def containing(needles, paths):
    return sorted({path + ' has ' + needle for path, text in readable(paths) for needle in needles if needle in text})
def writable(path):
    os.close(os.open(path, os.O_WRONLY))
    return 'opened'
def connect(family, address):
    with socket.socket(family) as s:
        s.settimeout(5)
        s.connect(address)
    return 'connected'
def links(pattern):
    for path in glob.glob(pattern):
        try: yield os.readlink(path)
        except OSError: pass
def status(name):
    return re.search('^%s:\\\\s*(.*)$' % name, read('/proc/self/status'), re.M)[1].split()
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *args):
    if getattr(libc, name)(*args) == -1: raise OSError(ctypes.get_errno(), '')
    return 'done'
def look(code):
    try: return eval(code)
    except OSError as error: return errno.errorcode.get(error.errno, type(error).__name__)
`;

t.test('nothing of the host leaks into a session', async (t) => {
  const abstract = createServer((socket) => socket.end('host'));
  await new Promise<void>((resolve) => abstract.listen(`\0${ABSTRACT}`, resolve));
  t.teardown(() => abstract.close());
  const segment = /(\d+)/.exec(
    execFileSync('ipcmk', ['-M', '4096', '-p', '0666'], { encoding: 'utf8' }),
  )![1]!;
  t.teardown(() => execFileSync('ipcrm', ['-m', segment]));

  const world = await startService(t);
  const port = Number(new URL(world.url).port);
  const neighbour = await world.session({ env: { NEIGHBOUR: `of-the-${NEIGHBOUR}` } });
  const beside = await world.submit(neighbour.sessionId, 'run.python', {
    code: `
import socket, sys, time
s = socket.socket(socket.AF_UNIX); s.bind('\\0${NEIGHBOUR}'); s.listen()
p = socket.socket(socket.AF_UNIX); p.bind('/workspace/${NEIGHBOUR}.sock'); p.listen()
open('/workspace/${NEIGHBOUR}.txt', 'w').write('private')
print('ready', flush=True); time.sleep(600)`,
  });
  await until(async () => {
    const { body } = await world.call('GET', `/v1/tasks/${beside.taskId}/output/stdout`);
    return String(body).includes('ready');
  });

  const { sessionId } = await world.session({ env: { MINE: 'yes' } });
  const py = (value: unknown) => JSON.stringify(value);
  const hexPort = `:${port.toString(16).toUpperCase().padStart(4, '0')} `;
  const needles = py([SECRET, ABSTRACT, neighbour.sessionId, NEIGHBOUR]);
  const looks: Look[] = [
    {
      what: 'environment: what the session was given and what a program needs',
      code: 'sorted(os.environ)',
      check: same(['HOME', 'LANG', 'MINE', 'PATH', 'PYTHONUNBUFFERED', 'TMPDIR', 'VIRTUAL_ENV']),
    },
    {
      what: 'environment: of no process is that of the service',
      code: `containing(${needles}, glob.glob("/proc/*/environ"))`,
      check: empty,
    },
    {
      what: 'argv: no process names a place or a secret of the host',
      code: `containing(${py([SECRET, world.dataDir, process.cwd(), '/proc/self/fd'])}, glob.glob("/proc/*/cmdline"))`,
      check: empty,
    },
    {
      what: 'processes: its own, from 1',
      code: 'sorted(int(name) for name in os.listdir("/proc") if name.isdigit())',
      check: (seen) => Array.isArray(seen) && seen.length <= 3 && seen.every((pid) => pid < 10),
    },
    {
      what: 'file descriptors: pipes and nothing else',
      code: 'sorted({re.sub(r"\\d+", "N", link) for link in links("/proc/*/fd/*")})',
      check: subsetOf(['/dev/null', '/proc/N/fd', 'pipe:[N]']),
    },
    {
      what: 'file descriptors: none above those of a program',
      code: 'sorted(int(os.path.basename(path)) for path in glob.glob("/proc/self/fd/*"))',
      check: (seen) => Array.isArray(seen) && seen.length <= 4 && seen.every((fd) => fd < 8),
    },
    {
      what: 'paths: the root',
      code: 'sorted(os.listdir("/"))',
      check: same(['bin', 'dev', 'etc', 'lib', 'lib64', 'proc', 'run', 'sbin', 'tmp', 'usr', 'workspace']),
    },
    {
      what: 'paths: a small /etc of our own',
      code: 'sorted(os.listdir("/etc"))',
      check: namesOf([
        ...['alternatives', 'group', 'hosts', 'ld.so.cache', 'localtime', 'nsswitch.conf', 'passwd', 'ssl'],
        ...COPIED_FROM_ETC.map((path) => path.split('/')[0]!),
      ]),
    },
    {
      what: 'paths: of /etc/ssl what verifies, and nothing that proves',
      code: 'sorted(os.listdir("/etc/ssl"))',
      check: subsetOf(['certs', 'openssl.cnf']),
    },
    {
      what: 'paths: nothing in /etc that others may not read on the host',
      code: '[path for path in glob.glob("/etc/**", recursive=True) if not os.path.islink(path) and not os.stat(path).st_mode & 4]',
      check: empty,
    },
    {
      what: 'paths: /run',
      code: 'sorted(os.listdir("/run"))',
      check: same(['codegen', 'egress.sock', 'pip']),
    },
    {
      what: 'paths: no device of the host',
      code: 'sorted(name for name in os.listdir("/dev") if stat.S_ISBLK(os.lstat("/dev/" + name).st_mode) or os.major(os.lstat("/dev/" + name).st_rdev) not in (0, 1, 5, 136))',
      check: empty,
    },
    {
      what: 'paths: nothing of the service, of users, of the system',
      code: `[path for path in ${py([world.dataDir, '/root', '/home', '/var', '/sys', '/boot', '/etc/shadow', '/etc/hostname', '/etc/machine-id', '/proc/1/root/root', '/run/systemd', '/run/dbus', '/var/run/docker.sock'])} if os.path.lexists(path)]`,
      check: empty,
    },
    {
      what: 'paths: links of /proc lead nowhere else',
      code: '[os.path.lexists("/proc/%s/%s/etc/shadow" % (pid, link)) for pid in ("self", "1") for link in ("root", "cwd")]',
      check: (seen) => Array.isArray(seen) && seen.every((each) => each === false),
    },
    {
      what: 'other sessions: no trace of one that runs',
      code: `containing(${needles}, [*files("/proc"), *files("/etc"), *files("/run")])`,
      check: empty,
    },
    {
      what: 'other sessions: its files are not found',
      code: `[path for top in ("/dev", "/etc", "/run", "/tmp", "/workspace") for path in files(top) if "${NEIGHBOUR}" in path]`,
      check: empty,
    },
    {
      what: 'other sessions: a signal to everybody reaches nobody',
      code: '[os.kill(pid, 0) for pid in range(10, 3000) if os.path.exists("/proc/%d" % pid)]',
      check: empty,
    },
    { what: 'uid: not root', code: 'os.getresuid()', check: same([1000, 1000, 1000]) },
    { what: 'gid: not root', code: 'os.getresgid()', check: same([1000, 1000, 1000]) },
    {
      what: 'groups: none of the service',
      code: 'sorted(set(os.getgroups()))',
      check: (seen) => Array.isArray(seen) && seen.every((gid) => gid === 1000 || gid === 65_534),
    },
    {
      what: 'uids: only this one exists inside',
      code: 'read("/proc/self/uid_map").split()[::2]',
      check: same(['1000', '1']),
    },
    {
      what: 'capabilities: none, and none to be had',
      code: '[status(name) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")]',
      check: (seen) => /^[[\],"0]*$/.test(JSON.stringify(seen)),
    },
    { what: 'privileges: none by set-uid', code: 'status("NoNewPrivs")', check: same(['1']) },
    {
      what: 'IPC: no shared memory, semaphore or queue of the host',
      code: '[len(read("/proc/sysvipc/" + kind).splitlines()) for kind in ("shm", "sem", "msg")]',
      check: same([1, 1, 1]),
    },
    {
      what: 'IPC: a segment of the host that everybody may use is not there',
      code: `call("shmctl", ${segment}, 2, ctypes.create_string_buffer(512))`,
      check: oneOf('EINVAL', 'EPERM', 'ENOSYS'),
    },
    { what: 'IPC: no message queues', code: 'os.listdir("/dev/mqueue")', check: oneOf('ENOENT') },
    {
      what: 'IPC: shared memory of its own',
      code: 'os.listdir("/dev/shm")',
      check: empty,
    },
    {
      what: 'abstract sockets: that of the host is not there',
      code: `connect(socket.AF_UNIX, "\\0${ABSTRACT}")`,
      check: oneOf('ECONNREFUSED'),
    },
    {
      what: 'abstract sockets: that of another session is not there',
      code: `connect(socket.AF_UNIX, "\\0${NEIGHBOUR}")`,
      check: oneOf('ECONNREFUSED'),
    },
    {
      what: 'abstract sockets: none is listed',
      code: '[line for line in read("/proc/net/unix").splitlines() if "@" in line]',
      check: empty,
    },
    {
      what: 'network: the service is not there',
      code: `connect(socket.AF_INET, ("127.0.0.1", ${port}))`,
      check: oneOf('ECONNREFUSED'),
    },
    {
      what: 'network: no connection of the host is listed',
      code: `[line for name in ("tcp", "tcp6", "udp", "udp6") for line in read("/proc/net/" + name).splitlines() if ${py(hexPort)} in line]`,
      check: empty,
    },
    {
      what: 'network: no interface but its own loopback',
      code: '[name for _, name in socket.if_nameindex()]',
      check: same(['lo']),
    },
    {
      what: 'network: no route and no neighbour',
      code: '[len(read("/proc/net/" + name).splitlines()) for name in ("route", "arp")]',
      check: same([1, 1]),
    },
    { what: 'kernel: a host name of its own', code: 'os.uname().nodename', check: same('sandbox') },
    ...[
      'sys/kernel/core_pattern',
      'sys/kernel/modprobe',
      'sys/kernel/hostname',
      'sys/kernel/yama/ptrace_scope',
      'sys/vm/overcommit_memory',
      'sys/vm/drop_caches',
      'sys/fs/binfmt_misc/register',
      'sys/net/ipv4/ip_forward',
      'sys/user/max_user_namespaces',
      'sysrq-trigger',
      '1/oom_score_adj',
    ].map((path) => ({
      what: `kernel settings: /proc/${path} cannot be written`,
      code: `writable("/proc/${path}")`,
      check: oneOf('EACCES', 'EROFS', 'EPERM', 'ENOENT'),
    })),
    ...['kcore', 'kmsg', 'kpagecount', 'timer_list', '1/mem', '1/environ', '1/maps', '1/fd'].map((path) => ({
      what: `kernel: /proc/${path} cannot be read`,
      code: path.endsWith('fd') ? `os.listdir("/proc/${path}")` : `read("/proc/${path}", 1)`,
      check: oneOf('EACCES', 'EPERM', 'ENOENT', 'EIO'),
    })),
    {
      what: 'kernel: no address of it',
      code: '{line.split()[0] for line in read("/proc/kallsyms", 4096).splitlines()[:20]} - {"0" * 16}',
      check: (seen) => same([])(seen) || seen === 'ENOENT' || seen === 'EPERM',
    },
    {
      what: 'kernel: no log of it',
      code: 'call("klogctl", 3, ctypes.create_string_buffer(512), 512)',
      check: oneOf('EPERM'),
    },
    {
      what: 'limits: files, processes and core are bounded',
      code: '[resource.getrlimit(kind)[1] for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE)]',
      check: same([1024, 0]),
    },
  ];

  const code = `${PRELUDE}
for code in json.loads(${py(JSON.stringify(looks.map((each) => each.code)))}):
    print(json.dumps(look(code), default=sorted), flush=True)`;
  const task = await world.python(sessionId, code);
  t.equal(task.status, 'success', String(task.outputs?.stderr));
  const seen = String(task.outputs?.stdout).trim().split('\n');
  for (const [index, { what, check }] of looks.entries()) {
    await t.test(what, async (t) => t.ok(check(JSON.parse(seen[index]!), what), seen[index]!.slice(0, 2000)));
  }
  await world.call('DELETE', `/v1/sessions/${neighbour.sessionId}?force=true`);
});
