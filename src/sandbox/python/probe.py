"""Runs where programs will run, tries what an attacker would, and says how each attempt went. It judges nothing: what
must have failed, and what may not, the service decides. Nothing here changes anything when an attempt succeeds. It
asks the kernel by calls, as there may be no /proc."""

import ctypes
import errno
import json
import os
import socket
import sys
import types

HERE = os.path.dirname(os.path.abspath(__file__))
NEW_USERS = 0x10000000
TMP_BYTES = 1 << 20

PRIVATE_PATHS = ("/etc/shadow", "/root", "/home", "/var", "/boot", "/sys", "/srv", "/mnt")
READ_ONLY_DIRECTORIES = ("/", "/etc", "/usr", "/dev", "/run", "/run/codegen")
KERNEL_SETTINGS = ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sysrq-trigger")


def load_confine():
    confine = types.ModuleType("codegen_confine")
    with open(f"{HERE}/confine.py", "rb") as file:
        exec(compile(file.read(), "confine.py", "exec", dont_inherit=True), confine.__dict__)
    return confine


def attempt(action):
    """The name of the error, or None when it worked."""
    try:
        action()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))
    return None


def write_file(directory):
    path = os.path.join(directory, ".codegen-probe")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(fd, b"x")
    finally:
        os.close(fd)
        os.unlink(path)


def open_for_writing(path):
    os.close(os.open(path, os.O_WRONLY))


libc = ctypes.CDLL(None)
GET_SECCOMP, CAPBSET_READ, GET_NO_NEW_PRIVS, CAP_AMBIENT, CAP_AMBIENT_IS_SET = 21, 23, 39, 47, 1
CAPABILITY_VERSION_3 = 0x20080522


def prctl(option, second=0, third=0):
    return libc.prctl(option, *(ctypes.c_ulong(value) for value in (second, third, 0, 0)))


def capabilities():
    """As /proc/self/status shows them; the kernel answers 0 for those it does not know."""
    held = (ctypes.c_uint32 * 6)()
    if libc.capget((ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0), held):
        return {"CapEff": "?"}
    every = lambda is_set: sum(1 << number for number in range(64) if is_set(number) == 1)
    sets = {
        "CapEff": held[0] | held[3] << 32,
        "CapPrm": held[1] | held[4] << 32,
        "CapInh": held[2] | held[5] << 32,
        "CapBnd": every(lambda number: prctl(CAPBSET_READ, number)),
        "CapAmb": every(lambda number: prctl(CAP_AMBIENT, CAP_AMBIENT_IS_SET, number)),
    }
    return {name: f"{bits:016x}" for name, bits in sets.items()}


def namespaces():
    try:
        return {name: os.readlink(f"/proc/self/ns/{name}") for name in ("user", "pid", "mnt", "net", "ipc", "uts")}
    except FileNotFoundError:
        return {}


def look_around(confine):
    return {
        "python": sys.version.split()[0],
        "uid": os.getuid(),
        "gid": os.getgid(),
        "capabilities": capabilities(),
        "noNewPrivileges": prctl(GET_NO_NEW_PRIVS) == 1,
        "seccomp": prctl(GET_SECCOMP) == 2,
        "namespaces": namespaces(),
        "processes": sum(name.isdigit() for name in os.listdir("/proc")),
        "interfaces": [name for _, name in socket.if_nameindex()],
        "environment": sorted(os.environ),
        "visible": [path for path in PRIVATE_PATHS if os.path.exists(path)],
        "written": {path: attempt(lambda path=path: write_file(path)) for path in READ_ONLY_DIRECTORIES},
        "settings": {path: attempt(lambda path=path: open_for_writing(path)) for path in KERNEL_SETTINGS},
        "newUserNamespace": attempt(lambda: confine.unshare(NEW_USERS)),
        "workspace": attempt(lambda: write_file("/workspace")),
        "temporary": attempt(lambda: write_file("/tmp")),
    }


def in_child(work, fork=os.fork):
    """Its outcome as JSON, or what went wrong."""
    reading, writing = os.pipe()
    try:
        pid = fork()
    except OSError as error:
        return {"error": f"{type(error).__name__}: {error}"}
    if pid == 0:
        try:
            outcome = work()
        except BaseException as error:
            outcome = {"error": f"{type(error).__name__}: {error}"}
        os.write(writing, json.dumps(outcome).encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        said = file.read()
    os.waitpid(pid, 0)
    return json.loads(said or b'{"error": "it died"}')


def nested(confine, seccomp_filter):
    """As the agent does it for every program: a namespace of processes, mounts and IPC."""

    def first_of_its_namespace():
        confine.mount_fresh(TMP_BYTES, TMP_BYTES)
        confine.drop_privileges(seccomp_filter)
        return look_around(confine)

    namespaces = confine.NEW_PIDS | confine.NEW_MOUNTS | confine.NEW_IPC
    return in_child(first_of_its_namespace, lambda: confine.clone(namespaces))


def main(mode):
    confine = load_confine()
    confine.set_dumpable(False)
    confine.bound_capabilities()
    if mode == "nested":
        with open(f"{HERE}/filter.bpf", "rb") as file:
            seccomp_filter = file.read()
        outcome = nested(confine, seccomp_filter)
    else:
        # bubblewrap has set the filter and left no capabilities.
        outcome = in_child(lambda: confine.drop_privileges(None) or look_around(confine))
    print(json.dumps(outcome), flush=True)
    # The service looks at us from outside before it ends us.
    sys.stdin.read()


main(sys.argv[1])
