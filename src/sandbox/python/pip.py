"""Runs the read-only pip for /workspace/.venv, started as `python3 -I -S`. Here is a way to the network, so nothing of
the session runs: its packages are listed but not imported, its .pth files not read, its programs not on the PATH."""

import os
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


def main(arguments):
    command, *rest = arguments
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
    # Neither settings nor passwords of the session: else it could turn up at the index as somebody else.
    os.environ["PIP_CONFIG_FILE"] = os.environ["NETRC"] = os.devnull
    from pip._internal.cli.main import main as pip

    sys.argv = ["pip", command]
    return pip([command, *ours, *rest])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
