"""What was loaded before a program began. It is not the program's: nobody looks at it when the program ends, and it makes
way for what the session has of its own."""

import _imp
import os
import sys

LOOKED_AT = 1 << 16
"""How much of a program's source is searched for imports, in characters or bytes: they stand at the top."""

_last_known = None
"""The module that was imported last before the program began."""

_library = None
"""Where the standard library begins on sys.path: what stands before it, a program finds first."""

_replaceable = frozenset()
"""Top-level modules that are loaded already, and that a fresh interpreter would look for on sys.path."""

_kept = {}
"""What `own` gives without importing anything."""

_ALWAYS_THERE = frozenset(
    "__main__ _collections_abc _sitebuiltins abc codecs encodings genericpath io os posixpath site stat".split()
)
"""What a fresh interpreter has loaded when a program begins."""

_SUFFIXES = frozenset(suffix[1:] for suffix in (".py", ".pyc", *_imp.extension_suffixes()))


def note():
    """Before it is known what to run."""
    global _last_known, _library, _replaceable
    _last_known = next(reversed(sys.modules))
    _library = sys.path[0]
    # Those that were found on sys.path have a loader that knows where.
    loaders = [(name, getattr(each, "__loader__", None)) for name, each in sys.modules.items()]
    found = {name.partition(".")[0] for name, loader in loaders if hasattr(loader, "path")}
    _replaceable = found - _ALWAYS_THERE
    for name in ("linecache", "traceback"):
        if name in sys.modules:
            _kept[name] = sys.modules[name]


def imports(source, names):
    """Which of these modules a program seems to import that are not there yet. A guess: what is found wrongly is loaded
    for nothing, what is missed is loaded by each program itself."""
    words = source[:LOOKED_AT] if isinstance(source, str) else source[:LOOKED_AT].decode("latin-1")
    if "import" not in words:
        return []
    found = set(words.replace(",", " ").replace(";", " ").split())
    return [name for name in names if name in found and name not in sys.modules]


def make_way():
    """Where the session has a module of its own that `python3` would find before the standard library's, so does the
    program, whatever had been loaded before it. What has imported the standard one keeps it."""
    for folder in sys.path:
        if folder == _library:
            return
        try:
            entries = os.listdir(folder or ".")
        except (OSError, TypeError, ValueError):
            continue
        for entry in entries:
            name, dot, suffix = entry.partition(".")
            if name not in _replaceable:
                continue
            if suffix in _SUFFIXES if dot else os.path.isfile(os.path.join(folder, name, "__init__.py")):
                for each in [each for each in sys.modules if each.partition(".")[0] == name]:
                    del sys.modules[each]


def is_at_hand(name):
    return name in _kept


def own(name):
    """For our own use: the session may have another of this name."""
    return _kept.get(name) or __import__(name)


def since():
    """Those that the program has imported: to look at the others would copy hundreds of pages that are shared."""
    names = []
    for name in reversed(sys.modules):
        if name == _last_known:
            break
        names.append(name)
    return names
