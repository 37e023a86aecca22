"""Runs the read-only pip for /workspace/.venv, started as `python3 -I -S`. Here is a way to the network, so nothing of
the session runs: its packages are listed but not imported, its .pth files not read, its programs not on the PATH.

Its arguments are the mark that begins the report of what was installed, the name of a scratch directory below the workspace,
and those of pip. Wheels are unpacked in the scratch directory, since /tmp is memory, and small. It is locked while it is
used: one without a lock was left by a pip that was killed."""

import fcntl
import json
import os
import shutil
import site
import sys
from importlib.machinery import FileFinder

PIP = "/run/pip/current"
WORKSPACE = "/workspace"
VENV = f"{WORKSPACE}/.venv"
PROXY = "http://127.0.0.1:3128"


class NotImportable(FileFinder):
    """Finds no module. Still a FileFinder, which is how pip's pkg_resources knows a directory of distributions."""

    def find_spec(self, fullname, target=None):
        return None


def refuse_imports_from_workspace(path):
    if path != WORKSPACE and not path.startswith(f"{WORKSPACE}/"):
        raise ImportError("left to the other hooks")
    return NotImportable(path)


SCRATCH = ".pip-scratch-"
REPORT = "/tmp/pip-report.json"


def open_scratch(name):
    """Makes the directory and gives its path, and the descriptor whose lock says that it is in use."""
    for left in os.listdir(VENV):
        if left.startswith(SCRATCH):
            remove_unused(f"{VENV}/{left}")
    path = f"{VENV}/{SCRATCH}{name}"
    os.mkdir(path, 0o700)
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return path, lock


def remove_unused(path):
    try:
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    except OSError:
        pass
    finally:
        os.close(lock)


def report(mark):
    """Where nobody in the session could write it: /tmp is of this process alone."""
    try:
        with open(REPORT, encoding="utf-8") as file:
            installed = [item["metadata"] for item in json.load(file)["install"]]
    except FileNotFoundError:
        return
    said = json.dumps([[each["name"], each["version"]] for each in installed])
    sys.stdout.flush()
    sys.stdout.write(mark + said)
    sys.stdout.flush()


def main(arguments):
    mark, scratch, command, *rest = arguments
    path, _lock = open_scratch(scratch)
    os.environ["TMPDIR"] = path
    try:
        code = run(command, rest)
    finally:
        shutil.rmtree(path, ignore_errors=True)
    if code == 0 and command == "install":
        report(mark)
    return code


def run(command, rest):
    # Debian's Python answers with site-packages only when it takes itself for that of a virtual environment.
    sys.prefix = sys.exec_prefix = VENV
    sys.executable = f"{VENV}/bin/python"
    # pip tries modules that it does not bring, such as _manylinux and socks. A hook outlives invalidated caches.
    sys.path_hooks.insert(0, refuse_imports_from_workspace)
    sys.path += [PIP, site.getsitepackages([VENV])[0]]
    # pip runs lsb_release and rustc, if there, to introduce itself to the index.
    os.environ["PATH"] = "/usr/local/bin:/usr/bin:/bin"
    ours = ["--proxy", PROXY, "--no-cache-dir", "--disable-pip-version-check", "--no-input"]
    if command == "install":
        ours += ["--no-compile", "--no-warn-script-location"]
        import pip

        if tuple(int(part) for part in pip.__version__.split(".")[:2]) >= (22, 2):
            ours += ["--report", REPORT]
    # Neither settings nor passwords of the session: else it could turn up at the index as somebody else.
    os.environ["PIP_CONFIG_FILE"] = os.environ["NETRC"] = os.devnull
    from pip._internal.cli.main import main as run_pip

    sys.argv = ["pip", command]
    return run_pip([command, *ours, *rest])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
