"""What `python3` takes from around it when it starts: its environment, and the virtual environment it belongs to. What only
an interpreter that starts now can take in, a warm one does not pretend to have."""

import os
import posix
import site
import sys
import time

import interpreter

VENV = "/workspace/.venv"
LOCALE = "C.UTF-8"

_READ_AT_START = ("PYTHON", "LANG", "LC_", "LD_", "MALLOC_", "OPENSSL_", "GLIBC_", "LOCPATH", "GCONV_PATH")
"""Beginnings of names that the interpreter, or a library it has loaded, looks at once, when it starts."""

_SWITCHES = ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE")
_LOCALES = ("LANG", "LC_ALL", "LC_CTYPE")

_ours = os.stat(sys.executable)


def executable():
    """The Python of the session; and whether it is the one that is running here."""
    for path in (f"{VENV}/bin/python3", sys.executable):
        try:
            found = os.stat(path)
        except OSError:
            continue
        return path, (found.st_dev, found.st_ino) == (_ours.st_dev, _ours.st_ino)
    return None, False


def need_a_cold_start(environment):
    return environment.get("LANG") != LOCALE or any(
        name.startswith(_READ_AT_START) and not _can_be_taken_in(name, value) for name, value in environment.items()
    )


def _can_be_taken_in(name, value):
    # An empty value is none, for all of them.
    return (
        not value
        or name == "PYTHONPATH"
        or (name in _SWITCHES and value in "01")
        or (name in _LOCALES and value == LOCALE)
    )


def enter(environment, executable):
    """Runs code of the session, namely what its .pth files, `sitecustomize` and `usercustomize` say."""
    _take(environment)
    if environment.get("PYTHONUNBUFFERED") != "1":
        interpreter.open_streams(unbuffered=False)
    if environment.get("PYTHONDONTWRITEBYTECODE") == "1":
        interpreter.set_flags(dont_write_bytecode=1)
        sys.dont_write_bytecode = True
    sys.executable = executable
    sys._base_executable = os.path.realpath(executable)
    if environment.get("PYTHONPATH"):
        sys.path[0:0] = environment["PYTHONPATH"].split(":")
    site.main()


def _take(environment):
    os.environ.update(environment)
    # What os.environ was made from.
    posix.environ.clear()
    posix.environ.update((os.fsencode(name), os.fsencode(value)) for name, value in environment.items())
    if "TZ" in environment or "TZDIR" in environment:
        time.tzset()
