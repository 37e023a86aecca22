"""Gives workspaces a size that the kernel holds them to: an ext4 image each, or a project quota. Runs as root beside the
service, never in a sandbox, since mounting and quotas are system calls that Node does not have, and starting mount(8)
for each would cost more than all of them. One JSON object a line comes in, one goes out; every path is made by the
service. When its standard input ends, so does it, and if the service did not come to it, takes the mounts away.
`host_disk.py LOCK`: the file is locked until then, so that the next run of the service does not come too early."""
import ctypes
import errno
import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time

LOOP_GET_STATUS64, LOOP_CONFIGURE, LOOP_CTL_GET_FREE = 0x4C05, 0x4C0A, 0x4C82
LOOP_MAJOR, LO_FLAGS_AUTOCLEAR = 7, 4
EXT4_IOC_SHUTDOWN, WITHOUT_FLUSHING = 0x8004587D, 2
MS_NOSUID, MS_NODEV, MS_NOATIME, MNT_DETACH = 2, 4, 1024, 2
BLOCK = 4096
# An inode and what else a file system keeps, generously; what is too much is taken off again.
INODE_BYTES, SPARE_BYTES, RESERVED_INODES = 256, 8 << 20, 11
# Removed from every workspace, which gives its blocks back.
LOST_AND_FOUND_BYTES = 4 * BLOCK
MOST_INODES_OF_A_GROUP, BLOCKS_OF_A_GROUP = 30_000, 32_768
PR_SET_NAME = 15
GONE_WITHIN_SECONDS = 20
TEMPLATES_KEPT = 8

FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR, FS_XFLAG_PROJINHERIT = 0x801C581F, 0x401C5820, 0x200
SYS_QUOTACTL_FD, Q_SETQUOTA, PRJQUOTA, QIF_BLIMITS, QIF_ILIMITS = 443, 0x800008, 2, 1, 4

libc = ctypes.CDLL(None, use_errno=True)


def checked(result):
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


# ---- images: made by writing the few blocks that differ from zero in a new file system of that size

templates = {}
making = threading.Lock()


def template_of(directory, size, inodes):
    """(bytes of the image, [(offset, data)]): a file system with exactly this room for data."""
    with making:
        if (size, inodes) not in templates:
            path = os.path.join(directory, f".template-{os.getpid()}")
            try:
                image = size + inodes * INODE_BYTES + SPARE_BYTES
                room = make_file_system(path, image, inodes)
                image -= (room + LOST_AND_FOUND_BYTES - size) // BLOCK * BLOCK
                make_file_system(path, image, inodes)
                templates[size, inodes] = image, extents(path)
            finally:
                if os.path.exists(path):
                    os.unlink(path)
            while len(templates) > TEMPLATES_KEPT:
                del templates[next(iter(templates))]
        return templates[size, inodes]


def make_file_system(path, image, inodes):
    """Answers the bytes that are free in it."""
    with open(path, "wb") as file:
        file.truncate(image)
    blocks = image // BLOCK
    groups = max(-(-blocks // BLOCKS_OF_A_GROUP), -(-inodes // MOST_INODES_OF_A_GROUP))
    of_a_group = max(256, -(-(-(-blocks // groups)) // 8) * 8)
    options = "-q -F -b 4096 -I 256 -m 0 -O ^has_journal,^resize_inode -E lazy_itable_init=1,nodiscard".split()
    command = ["mkfs.ext4", *options, "-N", str(inodes + RESERVED_INODES), "-g", str(of_a_group), path]
    subprocess.run(command, check=True, capture_output=True, text=True)
    with open(path, "rb") as file:
        file.seek(1024)
        return struct.unpack_from("<I", file.read(16), 12)[0] * BLOCK


def extents(path):
    found, at = [], 0
    with open(path, "rb") as file:
        while True:
            try:
                start = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                return found
            at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            found.append((start, os.pread(file.fileno(), at - start, start)))


def create(image, at, size, inodes):
    image_bytes, pieces = template_of(os.path.dirname(image), size, inodes)
    fd = os.open(image, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(fd, image_bytes)
        for offset, data in pieces:
            os.pwrite(fd, data, offset)
        mount_image(fd, at)
    finally:
        os.close(fd)
    remove_lost_and_found(at)


def remove_lost_and_found(at):
    """mkfs makes it, and e2fsck again, as root's, which no sandbox can read. One of a session's own is not root's."""
    path = os.path.join(at, "lost+found")
    try:
        if os.lstat(path).st_uid != 0:
            return
    except FileNotFoundError:
        return
    try:
        os.rmdir(path)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        # What was found in it is the session's.
        owner = os.stat(at)
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


# Where this process has mounted images that are still there.
mounted = set()


def mount_image(image, at):
    loop, device = attach_loop(image)
    try:
        # Without noinit_itable a kernel thread would fill the sparse image with the zeros that it reads there anyway.
        options = b"noinit_itable,discard"
        checked(libc.mount(device.encode(), at.encode(), b"ext4", MS_NOSUID | MS_NODEV | MS_NOATIME, options))
        mounted.add(at)
    finally:
        os.close(loop)
    try:
        # What ext4 keeps back for itself would be missing from the room that was promised.
        with open(f"/sys/fs/ext4/{os.path.basename(device)}/reserved_clusters", "w") as file:
            file.write("0")
    except OSError:
        pass


def attach_loop(image):
    """A loop device with this image, which goes by itself with its last user."""
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        while True:
            number = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
            device = f"/dev/loop{number}"
            if not os.path.exists(device):
                os.mknod(device, 0o60600, os.makedev(LOOP_MAJOR, number))
            loop = os.open(device, os.O_RDWR | os.O_CLOEXEC)
            info = bytearray(232)
            struct.pack_into("I", info, 52, LO_FLAGS_AUTOCLEAR)
            try:
                fcntl.ioctl(loop, LOOP_CONFIGURE, struct.pack("II", image, BLOCK) + info + bytes(64))
                return loop, device
            except OSError as error:
                os.close(loop)
                if error.errno != errno.EBUSY:  # Somebody else was quicker.
                    raise
    finally:
        os.close(control)


def backs(device_number, image):
    """Whether the device is a loop device that has this file."""
    if os.major(device_number) != LOOP_MAJOR:
        return False
    try:
        loop = os.open(f"/dev/loop{os.minor(device_number)}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        device, inode = struct.unpack_from("QQ", fcntl.ioctl(loop, LOOP_GET_STATUS64, bytes(232)))
        found = os.stat(image)
        return (device, inode) == (found.st_dev, found.st_ino)
    except OSError:
        return False
    finally:
        os.close(loop)


def is_mounted(at):
    return os.lstat(at).st_dev != os.lstat(os.path.dirname(at)).st_dev


def attach(image, at):
    """Of an earlier run: still mounted, or to be checked and mounted."""
    if is_mounted(at):
        if not backs(os.lstat(at).st_dev, image):
            raise RuntimeError(f"something else is mounted at {at}")
        mounted.add(at)
        return
    # Mounted twice it would be destroyed; its last user may be about to go.
    until(lambda: not any(backs(os.makedev(LOOP_MAJOR, number), image) for number in loop_numbers()), image)
    check = subprocess.run(["e2fsck", "-p", image], capture_output=True, text=True)
    if check.returncode > 2:
        raise RuntimeError(f"e2fsck: {(check.stdout + check.stderr).strip()[-500:]}")
    fd = os.open(image, os.O_RDWR | os.O_CLOEXEC)
    try:
        mount_image(fd, at)
    finally:
        os.close(fd)
    remove_lost_and_found(at)


def loop_numbers():
    return [int(name[4:]) for name in os.listdir("/sys/block") if name.startswith("loop") and name[4:].isdigit()]


def detach(at):
    if is_mounted(at):
        until(lambda: unmounted(at), at)
    mounted.discard(at)


def unmounted(at):
    try:
        checked(libc.umount2(at.encode(), 0))
        return True
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False


def locked(file):
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False


def until(is_so, what):
    give_up_at = time.monotonic() + GONE_WITHIN_SECONDS
    while not is_so():
        if time.monotonic() > give_up_at:
            raise RuntimeError(f"{what} is still in use")
        time.sleep(0.02)


def discard(image, at):
    """Takes the image away with all that is in it. What was not written yet never is."""
    if os.path.exists(at) and is_mounted(at):
        fd = os.open(at, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # Asked of the very descriptor that is shut down: it must not be any other file system.
            if not backs(os.fstat(fd).st_dev, image):
                raise RuntimeError(f"something else is mounted at {at}")
            fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", WITHOUT_FLUSHING))
        finally:
            os.close(fd)
        if not unmounted(at):
            checked(libc.umount2(at.encode(), MNT_DETACH))
    mounted.discard(at)
    if os.path.exists(image):
        os.unlink(image)


# ---- project quotas: the project's number is the workspace's uid

def limit(path, project, size, inodes):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        attributes = bytearray(28)
        fcntl.ioctl(fd, FS_IOC_FSGETXATTR, attributes)
        flags = struct.unpack_from("I", attributes, 0)[0]
        struct.pack_into("I", attributes, 0, flags | FS_XFLAG_PROJINHERIT)
        struct.pack_into("I", attributes, 12, project)
        set_quota(fd, project, size, inodes)
        fcntl.ioctl(fd, FS_IOC_FSSETXATTR, bytes(attributes))
    finally:
        os.close(fd)


def unlimit(path, project):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        set_quota(fd, project, 0, 0)
    finally:
        os.close(fd)


def set_quota(fd, project, size, inodes):
    kib = -(-size // 1024)
    wanted = struct.pack("8QI4x", kib, kib, 0, inodes, inodes, 0, 0, 0, QIF_BLIMITS | QIF_ILIMITS)
    command = Q_SETQUOTA << 8 | PRJQUOTA
    checked(libc.syscall(SYS_QUOTACTL_FD, fd, ctypes.c_uint(command), ctypes.c_uint(project), wanted))


# ---- one thread a request: unmounting may wait for the disk, and nobody else should wait with it

OPERATIONS = {each.__name__: each for each in (create, attach, detach, discard, limit, unlimit)}
answering = threading.Lock()


def answer(request):
    reply = {"id": request["id"]}
    try:
        OPERATIONS[request["op"]](**request["with"])
    except subprocess.CalledProcessError as error:
        reply["error"] = f"{error.cmd[0]}: {error.stderr.strip()[-500:]}"
        if "No space left on device" in error.stderr:
            reply["code"] = "ENOSPC"
    except OSError as error:
        reply["error"] = str(error)
        reply["code"] = errno.errorcode.get(error.errno)
    except Exception as error:
        reply["error"] = str(error)
    with answering:
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


def clear_up():
    """All at once: each may have to wait for its last users."""
    leaving = [threading.Thread(target=let_go, args=(at,)) for at in mounted]
    for thread in leaving:
        thread.start()
    for thread in leaving:
        thread.join()


def let_go(at):
    try:
        detach(at)
    except (OSError, RuntimeError):
        libc.umount2(at.encode(), MNT_DETACH)


def main():
    libc.prctl(PR_SET_NAME, b"host-disk")
    # Sent to the whole group they are for the service, which still needs this to take its mounts away.
    for each in signal.SIGTERM, signal.SIGINT:
        signal.signal(each, signal.SIG_IGN)
    lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until(lambda: locked(lock), sys.argv[1])
    waiting = []
    for line in sys.stdin:
        thread = threading.Thread(target=answer, args=(json.loads(line),), daemon=True)
        thread.start()
        waiting = [each for each in waiting if each.is_alive()] + [thread]
    for thread in waiting:
        thread.join()
    clear_up()


main()
