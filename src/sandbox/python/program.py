"""What a program is when its walls stand: the environment, and Python code with the meaning that `python3` gives it.
Runs in the confined child only; from here on, the session's own files are read."""

import _frozen_importlib
import _frozen_importlib_external
import _signal as signal
import atexit
import builtins
import errno
import gc
import io
import os
import resource
import site
import sys
import time

import loaded

WORKSPACE = "/workspace"
VENV = "/workspace/.venv"

_LIMITS = {
    "openFiles": resource.RLIMIT_NOFILE,
    "fileBytes": resource.RLIMIT_FSIZE,
    "processes": resource.RLIMIT_NPROC,
    "addressSpaceBytes": resource.RLIMIT_AS,
}


# What `site` gives to every interpreter.
site.setquit()
site.setcopyright()
site.sethelper()

class CannotStart(Exception):
    """The program could not be started; `code` is an errno's name or one of ours."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code
        self.message = message


def prepare():
    """What can be done before it is known what to run."""
    os.environ.clear()
    _open_streams(unbuffered=False)
    loaded.note()
    # What is here is not the program's, and need not be looked at when it ends.
    gc.freeze()
    # Nobody meets the agent's own.
    main = sys.modules["__main__"] = type(sys)("__main__")
    main.__builtins__ = builtins
    main.__annotations__ = {}


def run(request, starting):
    """After `prepare`. Never returns. Calls `starting` with the program's source when nothing of ours can fail any more,
    and before any code of the session runs; raises CannotStart before."""
    limit(request["limits"])
    _enter(request["cwd"])
    environment = request["env"]
    if request["kind"] == "argv":
        _exec(request["argv"], environment)
    os.environ.update(environment)
    if "TZ" in environment:
        time.tzset()
    if environment.get("PYTHONUNBUFFERED"):
        _open_streams(unbuffered=True)
    file = _read_file(request["file"]) if "file" in request else None
    # After this the session's code runs, the first of it being what its .pth files say.
    starting(file[-1] if file else request["code"])
    status = _run_main(request, file)
    _finish(status)


def limit(limits):
    for name, value in limits.items():
        resource.setrlimit(_LIMITS[name], (value, value))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _enter(cwd):
    try:
        os.chdir(os.path.join(WORKSPACE, cwd))
        here = os.getcwd()
    except (OSError, ValueError) as error:
        raise _cannot(error, f"the working directory {cwd!r}") from None
    _require_inside(here, f"the working directory {cwd!r}")


def _require_inside(path, what):
    if path != WORKSPACE and not path.startswith(WORKSPACE + "/"):
        raise CannotStart("PATH_OUTSIDE_WORKSPACE", f"{what} leads out of the workspace")


def _cannot(error, what):
    number = getattr(error, "errno", None) or errno.EINVAL
    return CannotStart(errno.errorcode.get(number, "EINVAL"), f"{what}: {os.strerror(number)}")


def _exec(argv, environment):
    # What Python ignores, programs do not expect to be ignored.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    program = argv[0]
    folders = [""] if "/" in program else environment.get("PATH", os.defpath).split(":")
    denied = None
    for folder in folders:
        path = os.path.join(folder, program)
        try:
            os.execve(path, argv, environment)
        except (FileNotFoundError, NotADirectoryError) as error:
            last = error
            if os.path.lexists(path) and os.path.isfile(path):
                raise CannotStart("ENOENT", f"{program}: the interpreter it names does not exist") from None
        except OSError as error:
            if error.errno == errno.ENOEXEC:
                # A script without a #! line is the shell's, as it is for execvp.
                os.execve("/bin/sh", ["/bin/sh", path, *argv[1:]], environment)
            denied = denied or error
        except ValueError as error:
            raise CannotStart("EINVAL", str(error)) from None
    raise _cannot(denied or last, program)


def _open_streams(unbuffered):
    def text(fd, mode, name, **options):
        raw = io.FileIO(fd, mode, closefd=False)
        raw.name = name
        if mode == "r":
            binary = io.BufferedReader(raw)
        else:
            binary = raw if unbuffered else io.BufferedWriter(raw)
            options["write_through"] = unbuffered
        stream = io.TextIOWrapper(binary, encoding="utf-8", **options)
        stream.mode = mode
        return stream

    sys.stdin = sys.__stdin__ = text(0, "r", "<stdin>", errors="surrogateescape")
    sys.stdout = sys.__stdout__ = text(1, "w", "<stdout>", errors="surrogateescape")
    sys.stderr = sys.__stderr__ = text(2, "w", "<stderr>", errors="backslashreplace", line_buffering=True)


def _enter_venv():
    """What `site` does for an interpreter of the virtual environment. Its .pth files may run code: we are confined."""
    interpreter = f"{VENV}/bin/python"
    if os.path.exists(interpreter):
        sys.executable = interpreter
        sys.prefix = sys.exec_prefix = VENV
        site.PREFIXES = [VENV]
        # With the names given, it does not look at each folder first.
        known = set(sys.path)
        for folder in site.getsitepackages([VENV]):
            if os.path.isdir(folder):
                site.addsitedir(folder, known)
    spawn = sys.modules.get("multiprocessing.spawn")
    if spawn:
        spawn.set_executable(sys.executable)
    for folder in reversed(os.environ.get("PYTHONPATH", "").split(":")):
        if folder:
            sys.path.insert(0, os.path.abspath(folder))


def _prepare_code(source):
    name = "<string>"
    sys.path.insert(0, "")
    if loaded.is_at_hand("linecache"):
        _remember_lines(source, name)
    main = sys.modules["__main__"]
    main.__loader__ = _frozen_importlib.BuiltinImporter
    return main, source, name


def _remember_lines(source, name):
    """So that a traceback, or a look at its source, shows the lines of code that is in no file."""
    loaded.own("linecache").cache[name] = (len(source), None, source.splitlines(True), name)


def _read_file(given):
    """Its path, what it is called in tracebacks and in sys.argv, its contents."""
    try:
        path = os.path.realpath(os.path.join(WORKSPACE, given), strict=True)
        _require_inside(path, f"the file {given!r}")
        with open(path, "rb") as file:
            source = file.read()
    except (OSError, ValueError) as error:
        raise _cannot(error, f"the file {given!r}") from None
    shown = os.path.normpath(os.path.join(WORKSPACE, given))
    return path, shown, given if os.getcwd() == WORKSPACE else shown, source


def _prepare_file(path, shown, _called, source):
    sys.path.insert(0, os.path.dirname(path))
    main = sys.modules["__main__"]
    main.__file__ = shown
    main.__cached__ = None
    main.__loader__ = _frozen_importlib_external.SourceFileLoader("__main__", shown)
    return main, source, shown


def _run_main(request, file):
    """The exit status; or the SIGINT that an unhandled KeyboardInterrupt means, as a negative number."""
    name = None
    called = file[2] if file else "-c"
    sys.argv = [called, *request["args"]]
    sys.orig_argv = ["python3", *([called] if file else ["-c", request["code"]]), *request["args"]]
    try:
        _enter_venv()
        main, source, name = _prepare_file(*file) if file else _prepare_code(request["code"])
        if ("import" if isinstance(source, str) else b"import") in source:
            loaded.make_way()
        exec(compile(source, name, "exec", dont_inherit=True), main.__dict__)
        return 0
    except BaseException as error:
        unhandled = error
    # Outside of the handler: what a hook raises has no context.
    try:
        if not isinstance(unhandled, SystemExit):
            if name == "<string>":
                _attempt_quietly(lambda: _remember_lines(source, name))
            _show(unhandled)
    except SystemExit as other:
        unhandled = other
    if isinstance(unhandled, SystemExit):
        return _exit_status(unhandled.code)
    return -signal.SIGINT if isinstance(unhandled, KeyboardInterrupt) else 1


def _exit_status(code):
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF if -(2**63) <= code < 2**63 else 0xFF
    _attempt_quietly(lambda: print(code, file=sys.stderr))
    return 1


def _show(error):
    """As the interpreter prints an unhandled exception, without the frames of this file."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    error.__traceback__ = trace
    if sys.stderr is None:
        return
    try:
        # Takes long to load where it is not there, and is of no use to most programs.
        traceback = loaded.own("traceback")
    except BaseException:
        return sys.__excepthook__(type(error), error, trace)
    hook = sys.excepthook
    try:
        if hook is sys.__excepthook__:
            traceback.print_exception(error)
        else:
            hook(type(error), error, trace)
    except SystemExit:
        raise
    except BaseException as broken:
        try:
            broken.__traceback__ = broken.__traceback__ and broken.__traceback__.tb_next
            print("Error in sys.excepthook:", file=sys.stderr)
            traceback.print_exception(broken)
            print("\nOriginal exception was:", file=sys.stderr)
            traceback.print_exception(error)
        except BaseException:
            pass


def _finish(status):
    """What the interpreter does at its end. Never returns."""
    # It may be the session's own of this name.
    wait_for_threads = getattr(sys.modules.get("threading"), "_shutdown", None)
    if wait_for_threads:
        _attempt(wait_for_threads)
    _attempt(atexit._run_exitfuncs)
    flushed = _flush(sys.stdout)
    _flush(sys.stderr)
    _tear_down()
    flushed = flushed and _flush(sys.stdout)
    _flush(sys.stderr)
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status if flushed else 120)


def _attempt(step):
    try:
        step()
    except SystemExit:
        pass
    except BaseException as error:
        _attempt(lambda: _show(error))


def _flush(stream):
    try:
        if stream is not None and not getattr(stream, "closed", False):
            stream.flush()
    except BaseException as error:
        if stream is sys.stdout:
            said = f"Exception ignored in: {stream!r}\n{type(error).__name__}: {error}"
            _attempt_quietly(lambda: print(said, file=sys.stderr))
        return False
    return True


def _attempt_quietly(step):
    try:
        step()
    except BaseException:
        pass


def _tear_down():
    """Lets go of what the program made, so that its files are flushed and its `__del__` methods run."""
    if len(getattr(sys.modules.get("threading"), "_active", ())) > 1:
        # Daemon threads still run and would trip over missing names: only save what is in open files.
        for each in gc.get_objects():
            if isinstance(each, (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)):
                _flush(each)
        return
    names = getattr(sys.modules.get("__main__"), "__dict__", None)
    if not isinstance(names, dict):
        names = {}
    for name in [name for name in names if name.startswith("_") and not name.startswith("__")]:
        names[name] = None
    for name in [name for name in names if name != "__builtins__"]:
        names[name] = None
    for name in loaded.since():
        origin = getattr(sys.modules[name], "__file__", None)
        if isinstance(origin, str) and origin.startswith(WORKSPACE):
            del sys.modules[name]
    gc.collect()
