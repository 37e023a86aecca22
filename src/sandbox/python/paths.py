"""Where a path leads, without ever leaving the workspace. Code in the sandbox may swap any name for a symlink at any
moment, so nothing is checked first and opened later: each step holds the directory it stands in by a descriptor and
takes one name from there without following it. Symlinks are read and followed by hand."""
import errno
import os
import stat

WORKSPACE = b"/workspace"
MAX_SYMLINKS = 40
MAX_REQUEST_PATH_BYTES = 4096
OPEN_HANDLE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


CODES = {
    errno.ENOENT: "FILE_NOT_FOUND",
    errno.ENOTDIR: "NOT_A_DIRECTORY",
    errno.EISDIR: "NOT_A_FILE",
    errno.ENXIO: "NOT_A_FILE",
    errno.EEXIST: "FILE_EXISTS",
    errno.ENOTEMPTY: "DIRECTORY_NOT_EMPTY",
    errno.EACCES: "PERMISSION_DENIED",
    errno.EPERM: "PERMISSION_DENIED",
    errno.EROFS: "PERMISSION_DENIED",
    errno.ENAMETOOLONG: "NAME_TOO_LONG",
    errno.ELOOP: "TOO_MANY_SYMLINKS",
    errno.ENOSPC: "DISK_FULL",
    errno.EDQUOT: "DISK_FULL",
    errno.EFBIG: "DISK_FULL",
}


class Refused(Exception):
    """An answer the caller gets as FileError; `code` is one of its codes."""

    def __init__(self, code, **facts):
        super().__init__(code)
        self.code = code
        self.facts = facts

    @classmethod
    def of(cls, error):
        """What an OSError means to the caller."""
        if error.errno in CODES:
            return cls(CODES[error.errno])
        return cls("FILE_ERROR", detail=os.strerror(error.errno or 0))


class Place:
    """A name in a directory of the workspace, which may or may not exist. The workspace itself is `.` in itself."""

    def __init__(self, fd, names, name):
        self.fd = fd
        self.name = name
        self.path = b"/".join([*names, name])

    @property
    def is_root(self):
        return self.name == b"."

    def stat(self):
        return os.stat(self.name, dir_fd=self.fd, follow_symlinks=False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)


def locate(root, text, follow=True, create_dirs=False):
    """Finds the place `text` names below `root`. With `follow` a symlink at its end is followed, too."""
    follow = follow or text.endswith("/")
    todo = _parts(_encode(text))
    names = []
    fd = os.dup(root)
    links = 0
    try:
        while todo:
            name = todo.pop()
            if name == b"..":
                if not names:
                    raise Refused("PATH_OUTSIDE_WORKSPACE")
                names.pop()
                fd = _instead_of(fd, _reach(root, names))
                continue
            if not todo and not follow:
                return Place(fd, names, name)
            handle = _open_step(fd, name, create_dirs and bool(todo), bool(todo))
            if handle is None:
                return Place(fd, names, name)
            mode = os.fstat(handle).st_mode
            if stat.S_ISLNK(mode):
                target = os.readlink(b"", dir_fd=handle)
                os.close(handle)
                links += 1
                if links > MAX_SYMLINKS:
                    raise Refused("TOO_MANY_SYMLINKS")
                todo.extend(_parts(target))
                if target.startswith(b"/"):
                    names = []
                    fd = _instead_of(fd, os.dup(root))
            elif not todo:
                os.close(handle)
                return Place(fd, names, name)
            else:
                fd = _instead_of(fd, handle)
                if not stat.S_ISDIR(mode):
                    raise Refused("NOT_A_DIRECTORY")
                names.append(name)
        if not names:
            return Place(fd, [], b".")
        name = names.pop()
        return Place(_instead_of(fd, _reach(root, names)), names, name)
    except BaseException:
        os.close(fd)
        raise


def _encode(text):
    try:
        path = text.encode("utf-8")
    except UnicodeEncodeError:
        raise Refused("FILE_NOT_FOUND") from None
    if len(path) > MAX_REQUEST_PATH_BYTES:
        raise Refused("NAME_TOO_LONG")
    if b"\0" in path:
        raise Refused("FILE_NOT_FOUND")
    return path


def _parts(path):
    """The names to walk, last first. An absolute path must be below the workspace."""
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if path.startswith(b"/"):
        if b"/" + b"/".join(parts[:1]) != WORKSPACE:
            raise Refused("PATH_OUTSIDE_WORKSPACE")
        del parts[0]
    parts.reverse()
    return parts


def _open_step(fd, name, create, needed):
    """A handle of the thing itself, be it a symlink. None when it is not there and need not be."""
    try:
        return os.open(name, OPEN_HANDLE, dir_fd=fd)
    except FileNotFoundError:
        if not needed:
            return None
        if not create:
            raise
    try:
        os.mkdir(name, 0o755, dir_fd=fd)
    except FileExistsError:
        pass
    return os.open(name, OPEN_HANDLE, dir_fd=fd)


def _reach(root, names):
    """Opens a directory by names that were resolved before; a symlink among them now is an error."""
    fd = os.dup(root)
    for name in names:
        try:
            handle = os.open(name, OPEN_HANDLE | os.O_DIRECTORY, dir_fd=fd)
        finally:
            os.close(fd)
        fd = handle
    return fd


def _instead_of(old, new):
    os.close(old)
    return new
