"""Bounds the netlink sockets of a sandbox. What waits in one counts towards no control group, and no limit of the kernel's
is on their number, yet getifaddrs() and with it much else needs one. So the kernel asks the keeper of a program for
each (seccomp's user notification), and the keeper counts those that the sandbox has."""

import errno
import fcntl
import os
import struct

import confine

MOST_SOCKETS = 64
"""Of 208 KiB each. Threads that ask at the same moment may get one more each."""

_SYS_SOCKET = {"x86_64": 41, "aarch64": 198}
_AF_NETLINK = 16
_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER, _FIRST_ARGUMENT = 0, 16
_ALLOW, _ASK, _ERRNO = 0x7FFF0000, 0x7FC00000, 0x00050000

_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_REQUEST_BYTES = 80
_CONTINUE = 1


def listen():
    """A descriptor for `answer`. Where the kernel cannot ask, or nobody could count, there are no such sockets: None."""
    try:
        if _count() is not None:
            return confine.take_listening_filter(_filter(_ASK))
    except OSError:
        pass
    confine.take_filter(_filter(_ERRNO | errno.EAFNOSUPPORT))
    return None


def answer(listener):
    request = bytearray(_REQUEST_BYTES)
    try:
        fcntl.ioctl(listener, _RECEIVE, request)
        number = struct.unpack_from("=Q", request)[0]
        count = _count()
        may = count is not None and count < MOST_SOCKETS
        error, flags = (0, _CONTINUE) if may else (-errno.ENOBUFS, 0)
        fcntl.ioctl(listener, _SEND, struct.pack("=QqiI", number, 0, error, flags))
    except OSError:
        # Who asked has gone, or does something else by now.
        pass


def _count():
    """In this network; those of the kernel's own are among them. None where it cannot be told."""
    try:
        fd = os.open("/proc/net/protocols", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        table = b""
        while piece := os.read(fd, 65536):
            table += piece
    finally:
        os.close(fd)
    for line in table.splitlines():
        fields = line.split()
        if fields and fields[0] == b"NETLINK":
            return int(fields[2])
    return None


def _filter(verdict):
    instructions = (
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_EQUAL, 0, 3, _SYS_SOCKET[os.uname().machine]),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_JUMP_EQUAL, 0, 1, _AF_NETLINK),
        (_RETURN, 0, 0, verdict),
        (_RETURN, 0, 0, _ALLOW),
    )
    return b"".join(struct.pack("=HBBI", *each) for each in instructions)
