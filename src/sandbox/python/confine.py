"""Gives up privileges, for good: fresh namespaces, no capabilities, the seccomp filter."""

import _signal as signal
import ctypes
import errno
import os

_libc = ctypes.CDLL(None, use_errno=True)
# Keeps the interpreter's lock, so that a child is born with it.
_libc_locked = ctypes.PyDLL(None, use_errno=True)
_SYS_CLONE = {"x86_64": 56, "aarch64": 220}

NEW_MOUNTS = 0x00020000
NEW_IPC = 0x08000000
NEW_PIDS = 0x20000000
MOST_TERMINALS = 64

_NOSUID, _NODEV, _NOEXEC = 2, 4, 8
_PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_CAPBSET_DROP = 4, 22, 24
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 36, 38, 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_SECCOMP_MODE_FILTER = 2
_SYS_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_NEW_LISTENER = 1, 8
_CAPABILITY_VERSION_3 = 0x20080522


class _FilterProgram(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def _check(result, what):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _prctl(option, second=0, what="prctl"):
    arguments = [ctypes.c_ulong(value) for value in (second, 0, 0, 0)]
    _check(_libc.prctl(ctypes.c_int(option), *arguments), what)


def clone(flags):
    """fork(2), with fresh namespaces for the child alone: unshare(2) would need a process in between, which costs as much
    as the program itself. The child must be one that leaves the interpreter's modules alone, for none is told of it, as
    os.fork() would tell `threading` or `random`; it may fork in its turn. Only for processes with one thread."""
    number = _SYS_CLONE.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, "clone")
    pid = _libc_locked.syscall(ctypes.c_long(number), ctypes.c_ulong(flags | signal.SIGCHLD), 0, 0, 0, 0)
    _check(pid, "clone")
    return pid


def unshare(flags):
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def mount_fresh(tmp_bytes, shm_bytes):
    """/proc of this process namespace, and /tmp, /dev/shm and /dev/pts that nobody else has seen. Terminals come out of one
    pool of the whole host, so only a few may be made here."""
    sized = lambda size: b"mode=1777,size=%d" % size
    for kind, target, flags, options in (
        (b"proc", b"/proc", _NOSUID | _NODEV | _NOEXEC, None),
        (b"tmpfs", b"/tmp", _NOSUID | _NODEV, sized(tmp_bytes)),
        (b"tmpfs", b"/dev/shm", _NOSUID | _NODEV, sized(shm_bytes)),
        (b"devpts", b"/dev/pts", _NOSUID | _NOEXEC, b"newinstance,ptmxmode=0666,mode=620,max=%d" % MOST_TERMINALS),
    ):
        result = _libc.mount(kind, target, kind, ctypes.c_ulong(flags), options)
        _check(result, f"mount {target.decode()}")


def bound_capabilities():
    """From now on nothing that is executed, by us or by whoever descends from us, can gain a capability."""
    for capability in range(64):
        # Fails beyond the last one the kernel knows, and where we may not.
        _libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0)


def drop_privileges(seccomp_filter):
    """No capabilities, no way back to them, and the filter (None when bubblewrap has set it for all)."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, "no_new_privs")
    # Fails where there are none to clear, as in gVisor; it is capset that counts.
    _libc.prctl(_PR_CAP_AMBIENT, ctypes.c_ulong(_PR_CAP_AMBIENT_CLEAR_ALL), 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _check(_libc.capset(header, (ctypes.c_uint32 * 6)()), "capset")
    if seccomp_filter is not None:
        take_filter(seccomp_filter)


def take_filter(seccomp_filter):
    instructions = ctypes.create_string_buffer(seccomp_filter, len(seccomp_filter))
    program = _FilterProgram(len(seccomp_filter) // 8, ctypes.addressof(instructions))
    result = _libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.byref(program), 0, 0)
    _check(result, "seccomp")


def take_listening_filter(seccomp_filter):
    """A descriptor for what the filter hands over to whoever holds it."""
    instructions = ctypes.create_string_buffer(seccomp_filter, len(seccomp_filter))
    program = _FilterProgram(len(seccomp_filter) // 8, ctypes.addressof(instructions))
    number = _SYS_SECCOMP.get(os.uname().machine, -1)
    fd = _libc.syscall(
        ctypes.c_long(number),
        ctypes.c_ulong(_SECCOMP_SET_MODE_FILTER),
        ctypes.c_ulong(_SECCOMP_FILTER_FLAG_NEW_LISTENER),
        ctypes.byref(program),
    )
    _check(fd, "seccomp")
    return fd


def set_dumpable(dumpable):
    """A process that is not dumpable cannot be traced or read through /proc by those with its uid."""
    _prctl(_PR_SET_DUMPABLE, int(dumpable), "dumpable")


def adopt_orphans():
    """Orphaned descendants become our children, as they are a pid 1's."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, "child subreaper")
