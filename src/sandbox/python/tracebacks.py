"""Code that is in no file has its lines in tracebacks, as it has from Python 3.13 on."""

import io
import sys

import loaded

NAME = "<string>"
HINT = ". Did you mean: "

_excepthook = sys.__excepthook__
_source = ""


def remember_lines(source):
    global _source
    _source = source
    if loaded.is_at_hand("linecache"):
        _remember()


def _remember():
    loaded.own("linecache").cache[NAME] = (len(_source), None, _source.splitlines(True), NAME)


def excepthook(kind, error, trace):
    """The interpreter's own would look for a file of that name."""
    stderr = getattr(sys, "stderr", None)
    if stderr is not None and trace is not None:
        try:
            traceback = loaded.own("traceback")
            _remember()
            text = "".join(traceback.format_exception(kind, error, trace))
            if isinstance(error, (NameError, AttributeError, ImportError)) and HINT not in text:
                text = _with_hints(text, kind, error, trace)
        except Exception:
            text = None
        if text is not None:
            try:
                stderr.write(text)
            except Exception:
                pass
            return
    _excepthook(kind, error, trace)


def _with_hints(text, kind, error, trace):
    """Only the interpreter's own knows, before Python 3.12, what else may have been meant."""
    stderr, sys.stderr = sys.stderr, io.StringIO()
    try:
        _excepthook(kind, error, trace)
        lines = sys.stderr.getvalue().splitlines(True)
    finally:
        sys.stderr = stderr
    hinted = {line.rpartition(HINT)[0] + "\n": line for line in lines if HINT in line}
    return "".join(hinted.get(line, line) for line in text.splitlines(True))
