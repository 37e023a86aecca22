"""Moving through a tree that somebody else may change meanwhile: by directory descriptors, one name at a time, never
through a symlink. Nothing here recurses, and depth costs no descriptors, so a tree 3,000 levels deep is an ordinary one."""
import errno
import os
import stat

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# A longer path is reported instead of entered: what is sent about an entry must fit in a message.
MAX_PATH_BYTES = 65_536
# Descriptors one cursor may hold; directories further up are found again through `..`.
KEPT_DESCRIPTORS = 64


class Cursor:
    """Stands in one directory below `root` and moves by single steps."""

    def __init__(self, root):
        self._fds = [os.dup(root)]
        self._names = []
        self._identities = [_identity(self._fds[0])]

    @property
    def fd(self):
        return self._fds[-1]

    @property
    def names(self):
        return self._names

    @property
    def path(self):
        return b"/".join(self._names)

    def enter(self, name):
        fd = os.open(name, OPEN_DIRECTORY, dir_fd=self.fd)
        self._fds.append(fd)
        self._names.append(name)
        self._identities.append(_identity(fd))
        parked = len(self._fds) - 1 - KEPT_DESCRIPTORS
        if parked > 0 and self._fds[parked] is not None:
            os.close(self._fds[parked])
            self._fds[parked] = None

    def leave(self):
        child = self._fds.pop()
        self._names.pop()
        self._identities.pop()
        try:
            if self._fds[-1] is None:
                self._fds[-1] = self._parent_of(child)
        finally:
            os.close(child)

    def go_to(self, names):
        """Walks to the directory with these names, by way of what both paths share."""
        shared = min(len(names), len(self._names))
        if names[:shared] != self._names[:shared]:
            shared = next(i for i, (name, own) in enumerate(zip(names, self._names)) if name != own)
        while len(self._names) > shared:
            self.leave()
        for name in names[shared:]:
            self.enter(name)

    def close(self):
        for fd in self._fds:
            if fd is not None:
                os.close(fd)
        self._fds = []

    def _parent_of(self, child):
        """The directory we came from, which `..` no longer is when somebody moved the child, and which `..` cannot reach
        from a child that may not be searched."""
        try:
            fd = os.open(b"..", OPEN_DIRECTORY, dir_fd=child)
            if _identity(fd) == self._identities[-1]:
                return fd
            os.close(fd)
        except PermissionError:
            pass
        fd = os.dup(self._fds[0])
        for name, identity in zip(self._names, self._identities[1:]):
            above = fd
            try:
                fd = os.open(name, OPEN_DIRECTORY, dir_fd=above)
            finally:
                os.close(above)
            if _identity(fd) != identity:
                os.close(fd)
                raise OSError(errno.ESTALE, "the tree changed while it was walked")
        return fd


def _identity(fd):
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def walk(root, unreadable, check=lambda: None):
    """Yields (descriptor of its directory, path, name) of everything below `root`, sorted by name, each directory followed
    by what is in it. The descriptor is good until the next step. Paths of directories that could not be read go to
    `unreadable`. `check` is called often and may raise to stop."""
    cursor = Cursor(root)
    try:
        waiting = [_entries(cursor.fd, check)]
        while waiting:
            if not waiting[-1]:
                waiting.pop()
                if waiting:
                    cursor.leave()
                continue
            name, is_directory = waiting[-1].pop()
            path = cursor.path + b"/" + name if cursor.names else name
            yield cursor.fd, path, name
            if not is_directory:
                continue
            if len(path) > MAX_PATH_BYTES - 256:
                unreadable(path)
                continue
            try:
                cursor.enter(name)
            except OSError:
                unreadable(path)
                continue
            waiting.append(_entries(cursor.fd, check))
    finally:
        cursor.close()


def entries_of(fd, check=lambda: None):
    """Like `walk`, without going down."""
    for name, _ in reversed(_entries(fd, check)):
        yield fd, name, name


def _entries(fd, check=lambda: None):
    """(name, whether it is a directory) of what is in the directory, last first."""
    entries = []
    with os.scandir(fd) as found:
        for number, entry in enumerate(found):
            if number % 256 == 0:
                check()
            entries.append((os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)))
    entries.sort(reverse=True)
    return entries


def remove_below(root, check=lambda: None):
    """Empties the directory `root`, whatever its entries are and whatever permissions the owner took from itself.
    `check` is called often and may raise to stop."""
    cursor = Cursor(root)
    try:
        waiting = [_unlink_entries(cursor.fd, check)]
        while True:
            if waiting[-1]:
                name = waiting[-1].pop()
                if _enter_to_empty(cursor, name):
                    waiting.append(_unlink_entries(cursor.fd, check))
                continue
            waiting.pop()
            if not waiting:
                return
            name = cursor.names[-1]
            cursor.leave()
            _remove_directory(cursor.fd, name, waiting[-1])
    finally:
        cursor.close()


def remove_tree(fd, name, check=lambda: None):
    """Removes the directory `name` in `fd` and all that is in it."""
    cursor = Cursor(fd)
    try:
        while _enter_to_empty(cursor, name):
            remove_below(cursor.fd, check)
            cursor.leave()
            left = []
            _remove_directory(fd, name, left)
            if not left:
                return
    finally:
        cursor.close()


def _unlink_entries(fd, check):
    """Unlinks everything but directories, whose names it returns."""
    directories = []
    _allow_owner(fd)
    for name in os.listdir(fd):
        check()
        name = os.fsencode(name)
        try:
            os.unlink(name, dir_fd=fd)
        except IsADirectoryError:
            directories.append(name)
        except FileNotFoundError:
            pass
    return directories


def _enter_to_empty(cursor, name):
    """False when the directory is not there any more, or was something else by now, and is gone."""
    try:
        try:
            cursor.enter(name)
        except PermissionError:
            _allow_owner_by_name(cursor.fd, name)
            cursor.enter(name)
        return True
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        os.unlink(name, dir_fd=cursor.fd)
        return False


def _remove_directory(fd, name, waiting):
    try:
        os.rmdir(name, dir_fd=fd)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        waiting.append(name)  # Somebody filled it meanwhile.


def _allow_owner(fd):
    mode = stat.S_IMODE(os.fstat(fd).st_mode)
    if mode & 0o700 != 0o700:
        try:
            os.fchmod(fd, mode | 0o700)
        except PermissionError:
            pass  # Not ours: what follows says whether that matters.


def _allow_owner_by_name(fd, name):
    """chmod that follows no symlink: Linux has none by name, so through a descriptor of the thing itself."""
    handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
    try:
        os.chmod(f"/proc/self/fd/{handle}", 0o700)
    except FileNotFoundError:
        # There is no /proc. By name a link could be followed, but only to what has the same owner: no gain for him.
        os.chmod(name, 0o700, dir_fd=fd)
    finally:
        os.close(handle)
