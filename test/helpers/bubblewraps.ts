// A program that stands where bubblewrap is and changes what it is asked for.

/** Reads the options, has `edit` change them, and becomes the real bubblewrap. Its uid, pid and descriptors stay. */
const wrapper = (edit: string) => `
import os, sys
real, command = sys.argv[1], sys.argv[2:]
if command[:1] != ["--args"]:
    os.execv(real, [real, *command])
with open(3, "rb", closefd=False) as file:
    options = file.read().split(b"\\0")[:-1]
def drop(name, values=0):
    while name in options:
        at = options.index(name)
        del options[at : at + 1 + values]
is_probe = any("probe.py" in word for word in command)
${edit}
fd = os.memfd_create("args")
os.write(fd, b"".join(option + b"\\0" for option in options))
os.lseek(fd, 0, 0)
os.dup2(fd, 3)
os.execv(real, [real, *command])
`;

/**
 * Keeps every promise while it is probed, and then forgets them: the host's files and its network are there, `/`
 * can be written, /tmp is the same for all, and there is no filter.
 */
export const CARELESS = wrapper(`
if not is_probe:
    for name in (b"--unshare-net", b"--unshare-ipc", b"--disable-userns", b"--new-session"):
        drop(name)
    drop(b"--seccomp", 1)
    drop(b"--remount-ro", 1)
    at = options.index(b"--chdir")
    host = [name for name in os.listdir("/") if name not in ("usr", "bin", "lib", "lib64", "sbin", "proc", "dev", "tmp", "run", "etc", "workspace")]
    options[at:at] = [word.encode() for name in host if os.path.isdir(f"/{name}") for word in ("--ro-bind-try", f"/{name}", f"/{name}")]
    options[at:at] = [b"--bind", b"/srv/tmp", b"/tmp"]
`);
