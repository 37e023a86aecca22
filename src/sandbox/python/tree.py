"""Reads, packs, fills, empties or measures a whole workspace, in a sandbox of its own: `tree.py read|pack|write|remove [ROOT]`;
`tree.py measure ROOT MOST` says how much it holds, as often as it is asked.

Packed, a tree is a tar stream (`tar_stream.py`). Otherwise it travels as entries, a directory before what is in it, and
then an end mark:
    kind, length of path, mode, mtime seconds, mtime nanoseconds, size | path | rest
where the rest is a file's bytes (`f`; when reading followed by one byte, 1 if it changed meanwhile), a symlink's target
(`l`), nothing (`d`), or why an entry was left out (`s`)."""
import errno
import json
import os
import stat
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from paths import Refused
from tar_stream import TarWriter
from walk import MAX_PATH_BYTES, Cursor, remove_below, walk

HEAD = struct.Struct(">cIHqIQ")
END = HEAD.pack(b"e", 0, 0, 0, 0, 0)
PIECE_BYTES = 262_144
# A run of zeros as long as this becomes a hole again.
HOLE = bytes(65_536)
OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
CREATE_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class FrameWriter:
    """Sends a tree as the entries described above."""

    def __init__(self, out):
        self._out = out

    def directory(self, path, mode, mtime_ns):
        self._out.write(_head(b"d", path, mode, mtime_ns, 0))

    def symlink(self, path, mode, mtime_ns, target):
        self._out.write(_head(b"l", path, mode, mtime_ns, len(target)) + target)

    def file(self, path, mode, mtime_ns, size):
        self._out.write(_head(b"f", path, mode, mtime_ns, size))

    def after_file(self, path, size, changed):
        self._out.write(b"\1" if changed else b"\0")

    def leave_out(self, path, why):
        self._out.write(_head(b"s", path, 0, 0, len(why)) + why)

    def end(self):
        self._out.write(END)


def read_tree(root, out, writer):
    """Tells `writer` of each entry and its end; the bytes of files go straight to `out`."""
    for fd, path, name in walk(root, lambda path: writer.leave_out(path[:MAX_PATH_BYTES], b"unreadable")):
        try:
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode):
                _read_file(fd, path, name, out, writer)
            elif stat.S_ISDIR(found.st_mode):
                writer.directory(path, _mode(found), found.st_mtime_ns)
            elif stat.S_ISLNK(found.st_mode):
                target = os.readlink(name, dir_fd=fd)
                writer.symlink(path, _mode(found), found.st_mtime_ns, target)
            else:
                writer.leave_out(path, _special(found.st_mode))
        except FileNotFoundError:
            writer.leave_out(path, b"vanished")
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM):
                writer.leave_out(path, b"unreadable")
            elif error.errno in (errno.ELOOP, errno.EINVAL, errno.ENXIO):
                writer.leave_out(path, b"vanished")  # It was something else when it was looked at.
            else:
                raise
    writer.end()
    out.flush()


def _read_file(fd, path, name, out, writer):
    """Exactly as many bytes as were announced: what a file loses meanwhile is sent as zeros, what it gains is left."""
    file = os.open(name, OPEN_FILE, dir_fd=fd)
    try:
        before = os.fstat(file)
        if not stat.S_ISREG(before.st_mode):
            raise OSError(errno.EINVAL, "it was a file a moment ago")
        size = left = before.st_size
        writer.file(path, _mode(before), before.st_mtime_ns, size)
        while left > 0:
            piece = os.read(file, min(PIECE_BYTES, left))
            if not piece:
                break
            out.write(piece)
            left -= len(piece)
        after = os.fstat(file)
        changed = left > 0 or (after.st_size, after.st_mtime_ns) != (size, before.st_mtime_ns)
        while left > 0:
            out.write(HOLE[: min(len(HOLE), left)])
            left -= min(len(HOLE), left)
        writer.after_file(path, size, changed)
    finally:
        os.close(file)


def _head(kind, path, mode, mtime_ns, size):
    seconds, nanoseconds = divmod(mtime_ns, 1_000_000_000)
    return HEAD.pack(kind, len(path), mode, seconds, nanoseconds, size) + path


def _mode(found):
    # Set-id bits have no business in a workspace.
    return stat.S_IMODE(found.st_mode) & 0o777


def _special(mode):
    if stat.S_ISFIFO(mode):
        return b"fifo"
    return b"socket" if stat.S_ISSOCK(mode) else b"device"


class Entry:
    def __init__(self, source):
        kind, length, self.mode, seconds, nanoseconds, self.size = HEAD.unpack(_exactly(source, HEAD.size))
        self.kind = kind
        if length > MAX_PATH_BYTES:
            raise Refused("NAME_TOO_LONG")
        self.path = _exactly(source, length)
        self.times = (seconds * 1_000_000_000 + nanoseconds,) * 2
        if kind != b"e":
            around = b"/" + self.path + b"/"
            if any(part in around for part in (b"//", b"/./", b"/../", b"\0")):
                raise Refused("PATH_OUTSIDE_WORKSPACE")
            *self.parents, self.name = self.path.split(b"/")


def write_tree(root, source):
    """Puts the tree in place of what is there. Nothing is ever followed or replaced, so entries that use a symlink as a
    directory, or the same name twice, are refused."""
    remove_below(root)
    cursor = Cursor(root)
    directories = []
    entry = None
    try:
        while (entry := Entry(source)).kind != b"e":
            cursor.go_to(entry.parents)
            if entry.kind == b"d":
                # Its own mode may forbid filling it.
                os.mkdir(entry.name, 0o700, dir_fd=cursor.fd)
                directories.append((entry.path, entry.mode, entry.times))
            elif entry.kind == b"f":
                _write_file(cursor.fd, entry, source)
            elif entry.kind == b"l":
                os.symlink(_exactly(source, min(entry.size, MAX_PATH_BYTES)), entry.name, dir_fd=cursor.fd)
                os.utime(entry.name, ns=entry.times, dir_fd=cursor.fd, follow_symlinks=False)
            else:
                raise Refused("FILE_ERROR", detail="an entry of unknown kind")
        # From the inside out: a directory that may not be entered is not entered again, and its time is set last.
        for path, mode, times in reversed(directories):
            cursor.go_to(path.split(b"/"))
            os.utime(cursor.fd, ns=times)
            os.fchmod(cursor.fd, mode)
    except OSError as error:
        refused = Refused.of(error)
        refused.facts["path"] = entry.path.decode("utf-8", "replace") if entry else "."
        raise refused from error
    finally:
        cursor.close()


def _write_file(fd, entry, source):
    file = os.open(entry.name, CREATE_FILE, 0o600, dir_fd=fd)
    try:
        left = entry.size
        while left > 0:
            piece = _exactly(source, min(len(HOLE), left))
            left -= len(piece)
            if piece == HOLE:
                os.lseek(file, len(piece), os.SEEK_CUR)
                continue
            view = memoryview(piece)
            while view:
                view = view[os.write(file, view) :]
        if os.lseek(file, 0, os.SEEK_CUR) != os.fstat(file).st_size:
            os.ftruncate(file, entry.size)
        os.fchmod(file, entry.mode)
        os.utime(file, ns=entry.times)
    finally:
        os.close(file)


def _exactly(source, length):
    data = source.read(length)
    if len(data) != length:
        raise Refused("FILE_ERROR", detail="the tree ended in the middle of an entry")
    return data


def measure_tree(root, most):
    """Bytes on the disk and number of entries, each file once however many names it has; no further than `most`."""
    found = os.stat(root)
    total, count, linked = found.st_blocks * 512, 1, set()
    for fd, _, name in walk(root, lambda path: None):
        try:
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except OSError:
            continue
        if found.st_nlink > 1 and not stat.S_ISDIR(found.st_mode):
            if found.st_ino in linked:
                continue
            linked.add(found.st_ino)
        total += found.st_blocks * 512
        count += 1
        if count > most:
            break
    return {"diskBytes": total, "inodes": count}


def main(mode, root="/workspace", most="0"):
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    if mode == "measure":
        # Once for every line, for as long as somebody asks.
        for _ in sys.stdin:
            os.write(1, json.dumps(measure_tree(fd, int(most))).encode() + b"\n")
        return
    if mode in ("read", "pack"):
        out = open(1, "wb", buffering=PIECE_BYTES, closefd=False)
        read_tree(fd, out, FrameWriter(out) if mode == "read" else TarWriter(out))
        return
    try:
        if mode == "write":
            write_tree(fd, open(0, "rb", buffering=PIECE_BYTES, closefd=False))
        else:
            remove_below(fd)
        answer = {}
    except Refused as refused:
        answer = {"code": refused.code, **refused.facts}
    except OSError as error:
        refused = Refused.of(error)
        answer = {"code": refused.code, **refused.facts}
    os.write(1, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
