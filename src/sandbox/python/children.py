"""What becomes of the agent's children. Each leaves its privileges behind before anything of the session comes near."""

import _signal as signal
import fcntl
import os
import sys

import confine
import interpreter
import keeper
import loaded
import netlink
import plain_json
import program

HERE = os.path.dirname(os.path.abspath(__file__))
BRIDGE_PORT = 3128
EGRESS_SOCKET = "/run/egress.sock"


def fork(work, report=None, namespaces=0):
    """The pid of a fresh child, which does `work` and never comes back to the agent's loop."""
    pid = confine.clone(namespaces) if namespaces else os.fork()
    if pid:
        return pid
    begins = False
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        work()
    except interpreter.Begin:
        # A program leaves all of this behind.
        begins = True
        raise
    except BaseException as error:
        said = f"{type(error).__name__}: {error}"
        try:
            os.write(2 if report is None else report, (plain_json.dumps({"error": said}) + "\n").encode())
        except OSError:
            pass
    finally:
        if not begins:
            os._exit(126)


def fork_keeper(config, theirs):
    """The pid of the keeper of a program; nested, it is pid 1 of a namespace."""
    namespaces = confine.NEW_PIDS | confine.NEW_MOUNTS | confine.NEW_IPC if config.nested else 0
    return fork(lambda: _become_keeper(config, *theirs), theirs[-1], namespaces)


def _become_keeper(config, stdin, stdout, stderr, go, control, report):
    _only_these(stdin, stdout, stderr, go, control, report)
    go, control, report = 3, 4, 5
    os.setsid()
    if config.nested:
        confine.mount_fresh(config.tmp_bytes, config.shm_bytes)
    else:
        confine.adopt_orphans()
    confine.drop_privileges(config.seccomp_filter)
    confine.set_dumpable(False)
    asked = netlink.listen()

    def become_program():
        os.close(control)
        if asked is not None:
            os.close(asked)
        _wait_for_request(go, report, config.preload_when_used)

    pid = fork(become_program, report)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(go)
    keeper.keep(pid, control, report, asked)


def _wait_for_request(go, report, preload_when_used):
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    confine.set_dumpable(True)
    program.prepare()
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            # When memory runs out it is the program that dies, not those who report on it.
            file.write("800")
    except OSError:
        pass
    os.write(report, b'{"ready": true}\n')
    length = int.from_bytes(_read_exactly(go, 4), "big")
    request = plain_json.loads(_read_exactly(go, length))
    os.close(go)

    has_started = False

    def starting(source):
        nonlocal has_started
        has_started = True
        wanted = loaded.imports(source, preload_when_used)
        if wanted:
            os.write(report, plain_json.dumps({"wants": wanted}).encode() + b"\n")
        os.close(report)

    try:
        program.run(request, starting)
    except program.CannotStart as why:
        code, message = why.code, why.message
    except Exception as error:
        # What fails before the program starts is no ending of the program.
        code, message = "EINVAL", f"{type(error).__name__}: {error}"
    if not has_started:
        os.write(report, plain_json.dumps({"failed": {"code": code, "message": message}}).encode() + b"\n")
    os._exit(127)


def become_helper(config, reading, writing):
    _only_these(os.open("/dev/null", os.O_RDONLY), 2, 2, reading, writing)
    os.setsid()
    # It runs none of the session's code, so nobody else meets our modules here.
    sys.path.insert(0, HERE)
    import files

    program.limit(config.helper_limits)
    confine.drop_privileges(config.seccomp_filter)
    confine.set_dumpable(True)
    files.serve(3, 4)


def become_bridge(config, ready):
    _only_these(os.open("/dev/null", os.O_RDONLY), 2, 2, ready)
    os.setsid()
    sys.path.insert(0, HERE)
    import bridge

    confine.drop_privileges(config.seccomp_filter)
    bridge.serve(BRIDGE_PORT, EGRESS_SOCKET, on_listening=lambda: os.write(3, b"1"))


def _only_these(*fds):
    """Makes these the descriptors 0, 1, 2 … and closes all others."""
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in fds]
    for number, fd in enumerate(high):
        os.dup2(fd, number, inheritable=number < 3)
    os.closerange(len(fds), 1 << 16)


def _read_exactly(fd, length):
    data = bytearray()
    while len(data) < length:
        piece = os.read(fd, length - len(data))
        if not piece:
            os._exit(0)
        data += piece
    return bytes(data)
