"""What modules of the standard library take from around them when they are loaded. One that was loaded before a program
began takes it again when the program imports it."""

import os
import sys
import time


def renew(name, module):
    if name in _BY_NAME:
        _BY_NAME[name](module)


def _logging(module):
    now = time.time_ns() if isinstance(module._startTime, int) else time.time()
    module._startTime = now


def _multiprocessing(_module):
    sys.modules["__mp_main__"] = sys.modules["__main__"]


def _multiprocessing_process(module):
    try:
        module.ORIGINAL_DIR = os.path.abspath(os.getcwd())
    except OSError:
        module.ORIGINAL_DIR = None
    # A secret, which no other program may know.
    module._current_process._config["authkey"] = module.AuthenticationString(os.urandom(32))


def _multiprocessing_spawn(module):
    module.set_executable(sys.executable)


def _multiprocessing_util(module):
    module.MAXFD = os.sysconf("SC_OPEN_MAX")


def _threading(module):
    # Before Python 3.12 a fork leaves the number of the process that it came from.
    module.main_thread()._set_native_id()


_BY_NAME = {
    "logging": _logging,
    "multiprocessing": _multiprocessing,
    "multiprocessing.process": _multiprocessing_process,
    "multiprocessing.spawn": _multiprocessing_spawn,
    "multiprocessing.util": _multiprocessing_util,
    "threading": _threading,
}
