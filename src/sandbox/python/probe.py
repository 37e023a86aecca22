"""Runs where programs will run, tries what an attacker would, and says how each attempt went. It judges nothing: what
must have failed, and what may not, the service decides. Nothing here changes anything when an attempt succeeds."""

import errno
import json
import os
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


def status():
    with open("/proc/self/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def interfaces():
    with open("/proc/net/dev") as file:
        return [line.split(":")[0].strip() for line in file if ":" in line]


def look_around(confine):
    own = status()
    return {
        "python": sys.version.split()[0],
        "uid": os.getuid(),
        "gid": os.getgid(),
        "capabilities": {name: own.get(name, "?") for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")},
        "noNewPrivileges": own.get("NoNewPrivs") == "1",
        "seccomp": own.get("Seccomp") == "2",
        "namespaces": {name: os.readlink(f"/proc/self/ns/{name}") for name in ("user", "pid", "mnt", "net", "ipc", "uts")},
        "processes": sum(name.isdigit() for name in os.listdir("/proc")),
        "interfaces": interfaces(),
        "environment": sorted(os.environ),
        "visible": [path for path in PRIVATE_PATHS if os.path.exists(path)],
        "written": {path: attempt(lambda path=path: write_file(path)) for path in READ_ONLY_DIRECTORIES},
        "settings": {path: attempt(lambda path=path: open_for_writing(path)) for path in KERNEL_SETTINGS},
        "newUserNamespace": attempt(lambda: confine.unshare(NEW_USERS)),
        "workspace": attempt(lambda: write_file("/workspace")),
        "temporary": attempt(lambda: write_file("/tmp")),
    }


def in_child(work):
    """Its outcome as JSON, or what went wrong."""
    reading, writing = os.pipe()
    pid = os.fork()
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
    """As the agent does it for every program: a process namespace, and inside it mounts and IPC."""
    confine.unshare(confine.NEW_PIDS)

    def first_of_its_namespace():
        confine.unshare(confine.NEW_MOUNTS | confine.NEW_IPC)
        confine.mount_fresh(TMP_BYTES, TMP_BYTES)
        confine.drop_privileges(seccomp_filter)
        return look_around(confine)

    return in_child(first_of_its_namespace)


def main(mode):
    confine = load_confine()
    confine.set_dumpable(False)
    if mode == "nested":
        with open(f"{HERE}/filter.bpf", "rb") as file:
            seccomp_filter = file.read()
        outcome = in_child(lambda: nested(confine, seccomp_filter))
    else:
        # bubblewrap has set the filter and left no capabilities.
        outcome = in_child(lambda: confine.drop_privileges(None) or look_around(confine))
    print(json.dumps(outcome), flush=True)


main(sys.argv[1])
