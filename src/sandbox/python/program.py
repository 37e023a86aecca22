"""What a program is when its walls stand: the environment, and Python code with the meaning that `python3` gives it.
Runs in the confined child only; from here on, the session's own files are read."""

import _frozen_importlib_external
import _signal as signal
import errno
import os
import resource
import stat
import sys

import interpreter
import loaded
import surroundings
import tracebacks

WORKSPACE = "/workspace"

_LIMITS = {
    "openFiles": resource.RLIMIT_NOFILE,
    "fileBytes": resource.RLIMIT_FSIZE,
    "processes": resource.RLIMIT_NPROC,
    "addressSpaceBytes": resource.RLIMIT_AS,
}

_NOT_SOURCE = (b"PK", _frozen_importlib_external.MAGIC_NUMBER)
"""What archives and compiled files begin with."""


class CannotStart(Exception):
    """The program could not be started; `code` is an errno's name or one of ours."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code
        self.message = message


def prepare_all():
    """In the agent: what is the same for all programs, and need not be done for each."""
    os.environ.clear()
    interpreter.set_flags(no_site=0)
    interpreter.fresh_main()


def prepare():
    """What can be done before it is known what to run."""
    interpreter.open_streams(unbuffered=True)
    loaded.hide()
    interpreter.end_at_once_where_possible()


def run(request, starting):
    """After `prepare`. Never returns. Calls `starting` with the program's source when nothing of ours can fail any more,
    and before any code of the session runs; raises CannotStart before."""
    limit(request["limits"])
    _enter(request["cwd"])
    environment = request["env"]
    if request["kind"] == "argv":
        _exec(request["argv"], environment)
    file = _File(request["file"]) if "file" in request else None
    source = file.source if file else _encode(request["code"])
    called = file.called if file else "-c"
    command = ["python3", *([called] if file else ["-c", request["code"]]), *request["args"]]
    _require_text((*request["args"], *environment, *environment.values()))
    executable, is_this = surroundings.executable()
    if not is_this or surroundings.need_a_cold_start(environment) or (file and not file.is_source):
        _exec_python(executable, command, environment)
    starting(source)
    sys.argv, sys.orig_argv = [called, *request["args"]], command
    # Without the code, which is nobody else's business.
    interpreter.show_command(command if file else ["python3", "-c", *request["args"]], environment)
    # From here on the session's code runs, the first of it being what its .pth files say.
    try:
        surroundings.enter(environment, executable)
    except BaseException:
        # The interpreter says what it says to that.
        _exec_python(executable, command, environment)
    sys.path.insert(0, os.path.dirname(file.path) if file else "")
    if file:
        interpreter.run_file(file.fd, os.fsencode(file.shown))
    tracebacks.remember_lines(request["code"])
    interpreter.run_code(source, tracebacks.excepthook)


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


def _exec_python(executable, command, environment):
    """What cannot be had in a warm interpreter, one that starts now has."""
    argv = command if _is_found_first(executable, environment) else [executable or "python3", *command[1:]]
    try:
        _exec(argv, environment)
    except CannotStart as why:
        if why.code != "E2BIG":
            raise
        rule = "a program with settings that need a Python of its own can have 128 KiB of code and arguments; give it as a file"
        raise CannotStart("E2BIG", rule) from None


def _is_found_first(executable, environment):
    return not executable or environment.get("PATH", "").startswith(os.path.dirname(executable) + ":")


def _encode(code):
    try:
        source = code.encode()
    except UnicodeEncodeError:
        raise CannotStart("EILSEQ", "the code has a lone surrogate, which is no character") from None
    if b"\0" in source:
        raise CannotStart("EINVAL", "the code has a NUL character, which no program in Python can have")
    return source


def _require_text(texts):
    try:
        if any("\0" in text for text in texts):
            raise CannotStart("EINVAL", "an argument or a variable has a NUL character")
        "".join(texts).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise CannotStart("EILSEQ", "an argument or a variable has a lone surrogate, which is no character") from None


class _File:
    """A script: its path, what it is called in tracebacks and in sys.argv, its contents."""

    def __init__(self, given):
        what = f"the file {given!r}"
        try:
            self.path = os.path.realpath(os.path.join(WORKSPACE, given), strict=True)
            _require_inside(self.path, what)
            self.fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            mode = os.fstat(self.fd).st_mode
            self.source = os.pread(self.fd, loaded.LOOKED_AT, 0) if stat.S_ISREG(mode) else b""
        except (OSError, ValueError) as error:
            raise _cannot(error, what) from None
        self.shown = os.path.normpath(os.path.join(WORKSPACE, given))
        self.called = given if os.getcwd() == WORKSPACE else self.shown
        self.is_source = stat.S_ISREG(mode) and not self.source.startswith(_NOT_SOURCE)
