"""Turns a process that was forked from the agent into `python3`. What runs the program, shows its exceptions and ends it is
the interpreter itself, by the functions that its own main program calls: nothing of that is imitated here.

They are called where the interpreter calls `sys.excepthook`, after the agent's own code has been left by an exception:
no frame of ours is beneath the program's, and from there an exit is the exit of the whole process."""

import _signal as signal
import _thread
import atexit
import builtins
import ctypes
import functools
import gc
import io
import sys

_PyCF_IGNORE_COOKIE = 0x0800
# Kinds of buffering, as C knows them.
_FULL, _NO = 0, 2
_python, _libc = ctypes.PyDLL(None), ctypes.CDLL(None)
_ModuleType, _ReferenceType = type(sys), __import__("_weakref").ReferenceType
_callback = _ReferenceType.__callback__.__get__

_HARMLESS = frozenset("_asyncio _contextvars _decimal _hashlib _json _queue _uuid _zoneinfo resource".split())
"""Libraries in C of which nobody notices whether their objects are destroyed."""


class Begin(BaseException):
    """Leaves all of the agent's code in a child that becomes a program."""


class _CompilerFlags(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_int), ("minor_version", ctypes.c_int)]


_state = {"succeeded": False, "canary": None}


def set_flags(**values):
    """Of sys.flags, in place: its type makes no others."""
    set_item = _python.PyStructSequence_SetItem
    set_item.argtypes, set_item.restype = [ctypes.py_object, ctypes.c_ssize_t, ctypes.py_object], None
    names = type(sys.flags).__match_args__
    for name, value in values.items():
        if name in names:
            # Takes over a reference that nobody has given it.
            _python.Py_IncRef(ctypes.py_object(value))
            set_item(sys.flags, names.index(name), value)


def fresh_main():
    main = sys.modules["__main__"] = _ModuleType("__main__")
    main.__annotations__ = {}
    main.__builtins__ = builtins
    main.__loader__ = sys.modules["_frozen_importlib"].BuiltinImporter
    return main


def open_streams(unbuffered):
    """As the interpreter opens its own where the locale is C.UTF-8."""

    def text(fd, mode, errors):
        name = ("<stdin>", "<stdout>", "<stderr>")[fd]
        is_raw = unbuffered and mode == "w"
        binary = io.open(fd, mode + "b", 0 if is_raw else -1, closefd=False)
        raw = binary if is_raw else binary.raw
        raw.name = name
        stream = io.TextIOWrapper(
            binary, "utf-8", errors, "\n", line_buffering=fd == 2 and not unbuffered, write_through=unbuffered
        )
        stream.mode = mode
        return stream

    for name, usual in (("stdin", _FULL), ("stdout", _FULL), ("stderr", _NO)):
        stream = ctypes.c_void_p.in_dll(_libc, name)
        _libc.setvbuf(stream, None, ctypes.c_int(_NO if unbuffered else usual), ctypes.c_size_t(8192))
    sys.stdin = sys.__stdin__ = text(0, "r", "surrogateescape")
    sys.stdout = sys.__stdout__ = text(1, "w", "surrogateescape")
    sys.stderr = sys.__stderr__ = text(2, "w", "backslashreplace")


def _own_areas():
    """Where in memory the kernel reads the command line and the environment of this process from; zeros where it does not
    tell, as in a sandbox without /proc."""
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return [0] * 4
    return [int(field) for field in fields[45:49]] if len(fields) > 48 else [0] * 4


_areas = _own_areas()


def show_command(command, environment):
    """To who looks at the process from outside; what is too long is cut off."""
    variables = [f"{name}={value}" for name, value in environment.items()]
    for start, end, texts in (*_areas[:2], command), (*_areas[2:], variables):
        if start:
            data = b"".join(text.encode("utf-8", "surrogateescape") + b"\0" for text in texts)[: end - start - 1]
            ctypes.memset(start, 0, end - start)
            ctypes.memmove(start, data, len(data))


def run_code(source, excepthook):
    """Never comes back. `source` has no NUL; `excepthook` is None for the interpreter's own."""
    run = _python.PyRun_SimpleStringFlags
    code = ctypes.create_string_buffer(source)
    flags = _CompilerFlags(_PyCF_IGNORE_COOKIE, sys.version_info[1])
    run.argtypes = [_Last(code, excepthook), _Given(ctypes.byref(flags)), _Given(None)]
    run.restype = _ended
    sys.excepthook = run
    raise Begin


def run_file(fd, name):
    """Never comes back, and closes the descriptor when it has been read."""
    fdopen = _libc.fdopen
    fdopen.restype = ctypes.c_void_p
    file = ctypes.c_void_p(fdopen(fd, b"rb"))
    run = _python.PyRun_SimpleFileExFlags
    flags = _CompilerFlags(0, sys.version_info[1])
    run.argtypes = [
        _Given(file),
        _Given(ctypes.c_char_p(name)),
        _Given(ctypes.c_int(1)),
        _Last(ctypes.byref(flags), None),
    ]
    run.restype = _ended
    # Has one argument more than a hook is given.
    sys.excepthook = functools.partial(run, None)
    raise Begin


def _thaw(container):
    """Has the collector look at it again."""
    if gc.is_tracked(container):
        for step in (_python.PyObject_GC_UnTrack, _python.PyObject_GC_Track):
            step.restype = None
            step(ctypes.py_object(container))


class _Given:
    """In the place of an argument: what C is given there, whatever came."""

    def __init__(self, value):
        self.value = value

    def from_param(self, _came):
        return self.value


class _Last(_Given):
    """The same, and the last of our code that runs before the program's."""

    def __init__(self, value, excepthook):
        super().__init__(value)
        self.excepthook = excepthook

    def from_param(self, came):
        for name in ("last_type", "last_value", "last_traceback", "last_exc"):
            sys.__dict__.pop(name, None)
        if self.excepthook:
            sys.__excepthook__ = self.excepthook
        sys.excepthook = sys.__excepthook__
        # What is here is not the program's, and need not be looked at when it ends.
        gc.freeze()
        main = sys.modules.get("__main__")
        for each in (main, getattr(main, "__dict__", None)):
            _thaw(each)
        _state["canary"] = []
        return self.value


def _ended(result):
    """After the main module. What failed has been shown; that the interpreter goes on from here means status 1, or death
    by SIGINT."""
    if result == 0:
        _state["succeeded"] = True
        raise SystemExit(0)


def end_at_once_where_possible():
    """To be said before anything else is registered, so that it comes last."""
    atexit.register(_end_at_once)


def _end_at_once():
    """To take an interpreter down takes as long as a program that prints a line. Where nothing is left that would notice,
    this is the end: all that would follow is that memory is freed."""
    # What the program has put into something of before is torn down with it.
    if not _may_end_at_once():
        gc.unfreeze()
        return
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        # The interpreter meets it again, and says so.
        return
    _python.exit(0)


def _may_end_at_once():
    if not _state["succeeded"] or _thread._count() or sys.gettrace() or sys.getprofile():
        return False
    if type(sys.stdout) is not io.TextIOWrapper or type(sys.stderr) is not io.TextIOWrapper:
        return False
    return not (gc.garbage or gc.callbacks or gc.get_debug() or _something_would_notice())


def _something_would_notice():
    """Whether there may be anything that does something when it is destroyed: a `__del__`, an open file, a generator, a
    callback of a weak reference, a library in C."""
    for name, module in sys.modules.items():
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file.endswith(".so") and name not in _HARMLESS:
            return True
    objects = gc.get_objects()
    kinds = set(map(type, objects))
    kinds.update(each for each in objects if isinstance(each, type))
    is_all_here = False
    for each in objects:
        if each is _state["canary"]:
            is_all_here = True
        elif issubclass(type(each), _ReferenceType) and _callback(each) is not None:
            return True
    return not is_all_here or any("__del__" in base.__dict__ for kind in kinds for base in type.mro(kind))
