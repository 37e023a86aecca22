"""Runs the read-only pip for /workspace/.venv, started as `python3 -I -S`. The .pth files of the environment are left
alone: they are the session's code, and here is a way to the network."""

import os
import site
import sys

PIP = "/run/pip/current"
VENV = "/workspace/.venv"
PROXY = "http://127.0.0.1:3128"


def main(arguments):
    command, *rest = arguments
    packages = site.getsitepackages([VENV])[0]
    sys.prefix = sys.exec_prefix = VENV
    sys.executable = f"{VENV}/bin/python"
    # After pip's own, so that nothing installed can take the place of what runs here.
    sys.path += [PIP, packages]
    ours = ["--proxy", PROXY, "--no-cache-dir", "--disable-pip-version-check", "--no-input"]
    if command == "install":
        ours += ["--no-compile"]
    os.environ["PIP_CONFIG_FILE"] = os.devnull
    from pip._internal.cli.main import main as pip

    sys.argv = ["pip", command]
    return pip([command, *ours, *rest])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
