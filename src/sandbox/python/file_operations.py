"""What the file tools do, each on one place of the workspace. An operation is given the request and sends what it reads,
its progress and its listing as it goes; what it returns is the result."""
import ctypes
import errno
import fnmatch
import os
import stat
import struct

from paths import Refused, locate
from walk import OPEN_DIRECTORY, entries_of, remove_tree, walk

PIECE_BYTES = 262_144
RENAME_NOREPLACE = 1
# A FIFO opened by an unlucky race must not block, and a symlink put there in the meantime must not be followed.
OPEN_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
# Times that RFC 3339 can say, in milliseconds: the years 1 to 9999.
FIRST_MS, LAST_MS = -62_135_596_800_000, 253_402_300_799_999


def _read(root, operation, request):
    with locate(root, request["path"]) as place:
        _require_file(place)
        fd = os.open(place.name, os.O_RDONLY | OPEN_FILE, dir_fd=place.fd)
    try:
        size = _size_of_file(fd)
        offset = request.get("offset", 0)
        wanted = max(0, min(request.get("length", size), size - offset))
        if wanted > request["maxBytes"]:
            raise Refused("FILE_TOO_LARGE", sizeBytes=size, maxBytes=request["maxBytes"])
        end = offset + wanted
        while offset < end:
            operation.check()
            piece = os.pread(fd, min(PIECE_BYTES, end - offset), offset)
            if not piece:
                break
            operation.send("B", piece)
            offset += len(piece)
        return {"sizeBytes": size}
    finally:
        os.close(fd)


def _write(root, operation, request):
    names_directory = request["path"].endswith("/")
    with locate(root, request["path"], create_dirs=request["createDirs"] and not names_directory) as place:
        if names_directory or place.is_root:
            raise Refused("NOT_A_FILE")
        mode = _mode_of_existing(place)
        if request["append"]:
            _append(operation, place)
        else:
            _replace(operation, place, mode)
        return _describe(place)


def _append(operation, place):
    fd = os.open(place.name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | OPEN_FILE, 0o644, dir_fd=place.fd)
    try:
        before = _size_of_file(fd)
        try:
            written = _receive(operation, fd)
        except BaseException:
            os.ftruncate(fd, min(before, os.fstat(fd).st_size))  # Half a line is worse than none.
            raise
        return written
    finally:
        os.close(fd)


def _replace(operation, place, mode):
    """Readers see the old contents or the new, whole. The new ones have no name until then: a helper that is killed leaves
    nothing behind."""
    try:
        if not os.path.exists("/proc/self/fd"):
            raise OSError(errno.EOPNOTSUPP, "nothing without a name can be given one")
        fd = os.open(b".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=place.fd)
        named = None
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
            raise
        named = _temporary_name()
        fd = os.open(named, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=place.fd)
    try:
        _receive(operation, fd)
        os.fchmod(fd, mode)
        if named is None:
            named = _temporary_name()
            os.link(f"/proc/self/fd/{fd}", named, dst_dir_fd=place.fd, follow_symlinks=True)
        os.rename(named, place.name, src_dir_fd=place.fd, dst_dir_fd=place.fd)
        named = None
    finally:
        os.close(fd)
        if named is not None:
            try:
                os.unlink(named, dir_fd=place.fd)
            except FileNotFoundError:
                pass


def _write_all(fd, data):
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _receive(operation, fd):
    written = 0
    for piece in operation.pieces():
        _write_all(fd, piece)
        written += len(piece)
        operation.send("P", struct.pack(">Q", written))
    return written


def _list(root, operation, request):
    with locate(root, request["path"]) as place:
        listed = b"" if place.is_root else place.path + b"/"
        top = os.open(place.name, OPEN_DIRECTORY, dir_fd=place.fd)
    matches = _matcher(request.get("pattern"))
    total, unreadable = 0, []
    batch, size = [], 0
    try:
        check = operation.check
        entries = walk(top, unreadable.append, check) if request["recursive"] else entries_of(top, check)
        for number, (fd, path, name) in enumerate(entries):
            if number % 256 == 0:
                check()
            if not matches(path, name):
                continue
            total += 1
            if total > request["limit"]:
                continue
            try:
                entry = _entry(fd, listed + path, name)
            except PermissionError:
                unreadable.append(path)
                entry = None
            if entry is None:
                total -= 1
                continue
            batch.append(entry)
            size += 256 + 6 * (len(listed) + len(path) + len(name) + len(entry.get("target", "")))
            if size > PIECE_BYTES:
                operation.answer("L", batch)
                batch, size = [], 0
        operation.answer("L", batch)
        return {"totalCount": total, "unreadableCount": len(unreadable)}
    finally:
        os.close(top)


def _stat(root, _operation, request):
    with locate(root, request["path"], follow=False) as place:
        return _describe(place)


def _mkdir(root, _operation, request):
    with locate(root, request["path"], create_dirs=request["parents"]) as place:
        try:
            os.mkdir(place.name, 0o755, dir_fd=place.fd)
        except FileExistsError:
            if not request["parents"] or not stat.S_ISDIR(place.stat().st_mode):
                raise
        return _describe(place)


def _move(root, _operation, request):
    with locate(root, request["path"], follow=False) as old:
        old.stat()
        if old.is_root:
            raise Refused("PERMISSION_DENIED")
        try:
            with locate(root, request["to"], follow=False) as new:
                _rename(old, new, request["overwrite"])
                return _describe(new)
        except OSError as error:
            refused = Refused.of(error)
        except Refused as error:
            refused = error
        refused.facts["about"] = "to"
        raise refused


def _rename(old, new, overwrite):
    if new.is_root:
        raise Refused("FILE_EXISTS")
    try:
        if overwrite:
            os.rename(old.name, new.name, src_dir_fd=old.fd, dst_dir_fd=new.fd)
        else:
            _rename_to_nothing(old, new)
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise Refused("FILE_ERROR", detail="a directory cannot be moved into itself") from None
        raise


def _rename_to_nothing(old, new):
    """rename that fails when the new name is taken, in one step."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(old.fd, old.name, new.fd, new.name, RENAME_NOREPLACE) == 0:
        return
    number = ctypes.get_errno()
    if number not in (errno.ENOSYS, errno.EINVAL):
        raise OSError(number, os.strerror(number))
    # A filesystem without it, or a directory that was to go into itself, which rename tells.
    try:
        new.stat()
    except FileNotFoundError:
        os.rename(old.name, new.name, src_dir_fd=old.fd, dst_dir_fd=new.fd)
        return
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def _remove(root, operation, request):
    with locate(root, request["path"], follow=False) as place:
        if place.is_root:
            raise Refused("PERMISSION_DENIED")
        entry = _describe(place)
        if entry["type"] != "directory":
            os.unlink(place.name, dir_fd=place.fd)
        elif request["recursive"]:
            remove_tree(place.fd, place.name, operation.check)
        else:
            os.rmdir(place.name, dir_fd=place.fd)
        return entry


def _require_file(place):
    """Said before anything is opened: opening a device or a FIFO may have an effect."""
    mode = place.stat().st_mode
    if not stat.S_ISREG(mode):
        raise Refused("NOT_A_FILE", type=_type(mode))
    return mode


def _size_of_file(fd):
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise Refused("NOT_A_FILE", type=_type(found.st_mode))
    return found.st_size


def _mode_of_existing(place):
    """Permission bits a replaced file keeps; those of a new one when there is none."""
    try:
        mode = stat.S_IMODE(_require_file(place)) & 0o777
    except FileNotFoundError:
        return 0o644
    if not mode & 0o222:
        raise Refused("PERMISSION_DENIED", readOnly=True)
    return mode


def _temporary_name():
    return b".%s.tmp" % os.urandom(12).hex().encode()


def _matcher(pattern):
    """Whether a path below the listed directory matches: by its name alone when the pattern has no slash. `*` and `?`
    stay within a name, `**` as a whole name stands for any number of them."""
    if pattern is None:
        return lambda path, name: True
    if "/" not in pattern:
        return lambda path, name: fnmatch.fnmatchcase(_text(name), pattern)
    wanted = [part for part in pattern.split("/") if part not in ("", ".")]
    return lambda path, name: _matches_all(_text(path).split("/"), wanted)


def _matches_all(names, wanted):
    """Linear in both: a mismatch only ever goes back to the last `**`."""
    at = want = 0
    resume = None
    while at < len(names):
        if want < len(wanted) and wanted[want] == "**":
            resume = (at, want)
            want += 1
        elif want < len(wanted) and fnmatch.fnmatchcase(names[at], wanted[want]):
            at += 1
            want += 1
        elif resume:
            at, want = resume[0] + 1, resume[1] + 1
            resume = (at, resume[1])
        else:
            return False
    return all(part == "**" for part in wanted[want:])


def _describe(place):
    entry = _entry(place.fd, place.path, place.name)
    if entry is None:
        raise Refused("FILE_NOT_FOUND")
    return entry


def _entry(fd, path, name):
    """What FileEntry tells of one name; None when it is gone."""
    try:
        found = os.stat(name, dir_fd=fd, follow_symlinks=False)
        target = os.readlink(name, dir_fd=fd) if stat.S_ISLNK(found.st_mode) else None
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno != errno.EINVAL:  # It was a symlink a moment ago.
            raise
        return None
    entry = {
        "path": _text(path),
        "name": _text(name),
        "type": _type(found.st_mode),
        "sizeBytes": found.st_size,
        "mode": stat.S_IMODE(found.st_mode),
        "modifiedMs": max(FIRST_MS, min(LAST_MS, found.st_mtime_ns // 1_000_000)),
    }
    if target is not None:
        entry["target"] = _text(target)
    return entry


def _type(mode):
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "directory"
    return "symlink" if stat.S_ISLNK(mode) else "other"


def _text(name):
    return name.decode("utf-8", "replace")


OPERATIONS = {
    "read": _read,
    "write": _write,
    "list": _list,
    "stat": _stat,
    "mkdir": _mkdir,
    "move": _move,
    "remove": _remove,
}
