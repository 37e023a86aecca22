"""Modules that were loaded before a program began. It does not see them until it imports them: then it is given what was
loaded, where `python3` would have found it, and everything that it would have loaded with it."""

import _frozen_importlib
import _frozen_importlib_external
import _imp
import atexit
import builtins
import os
import sys

import renewed

LOOKED_AT = 1 << 16
"""How much of a program's source is searched for imports, in characters or bytes: they stand at the top."""

_AT_START = frozenset(sys.modules) | {"site", "_sitebuiltins"}
"""What a fresh interpreter has loaded when a program begins."""

_LIBRARY = os.path.dirname(os.__file__)
_SUFFIXES = frozenset(suffix[1:] for suffix in (".py", ".pyc", *_imp.extension_suffixes()))
_PathFinder = _frozen_importlib_external.PathFinder
_FileFinder = _frozen_importlib_external.FileFinder

_needs = {}
"""What each module has imported, itself."""

_at_exit = {}
"""What each module wanted called at the end."""

_all = {}
"""All modules that were loaded, without those that any interpreter has."""

_kept = {}
"""Of these, the ones that the program does not see yet."""

_specs = {}
_other_names = {}
"""What a module has put into sys.modules under further names, by its own."""

_MACHINERY = frozenset(
    "_frozen_importlib _frozen_importlib_external importlib._bootstrap importlib._bootstrap_external".split()
)
_being_imported = []


def _names_of_machinery():
    names = ("__name__", "__file__", "__package__", "__spec__")
    return [
        (each, {name: each.__dict__[name] for name in names if name in each.__dict__})
        for each in (_frozen_importlib, _frozen_importlib_external)
    ]


def _rename_machinery(names):
    """`importlib` gives the modules that do its work other names when it is imported."""
    for module, members in names:
        module.__dict__.pop("__file__", None)
        module.__dict__.update(members)


_names_at_start = _names_of_machinery()
_names_by_importlib = None
_noted = 0

_import, _register = builtins.__import__, atexit.register


def watch():
    """From now on, what is imported is noted; in the agent, before it imports anything else."""
    builtins.__import__ = _note_import
    atexit.register = _note_at_exit


def _note_import(name, globals=None, locals=None, fromlist=(), level=0):
    importer = globals.get("__name__") if globals else None
    if level:
        name = _frozen_importlib._resolve_name(name, _frozen_importlib._calc___package__(globals), level)
    if importer in _MACHINERY:
        # A library in C imports this, while it is loaded.
        importer = _being_imported[-1] if _being_imported else None
    _being_imported.append(name)
    try:
        module = _import(name, globals, locals, fromlist)
    finally:
        _being_imported.pop()
    if importer and importer != "__main__":
        names = [name, *(f"{name}.{each}" for each in fromlist or ())]
        _needs.setdefault(importer, []).extend(each for each in names if each in sys.modules)
    return module


def _note_at_exit(function, *args, **kwargs):
    _at_exit.setdefault(function.__module__, []).append((function, args, kwargs))
    return function


def note():
    """In the agent, before it forks a process for a program."""
    global _names_by_importlib, _noted
    if len(sys.modules) == _noted:
        return
    _noted = len(sys.modules)
    _names_by_importlib = _names_of_machinery()
    for name, module in sys.modules.items():
        spec = getattr(module, "__spec__", None)
        # Those in the interpreter itself stay: made again they would have types of their own.
        if name in _AT_START or name in _all or (spec and spec.loader is _frozen_importlib.BuiltinImporter):
            continue
        if spec is None or spec.name != name:
            # One without a parent is not put back, and not held: it may be the main module, whose end would be late.
            parent = name.rpartition(".")[0]
            _other_names.setdefault(parent, {})[name] = module if parent else None
        else:
            _all[name], _kept[name], _specs[name] = module, module, spec
    for finder in sys.path_importer_cache.values():
        if type(finder) is _FileFinder and "find_spec" not in finder.__dict__:
            finder.find_spec = _Finding(finder)


def hide():
    """In the process of a program, before it is known what to run."""
    builtins.__import__, atexit.register = _import, _register
    for names in (_all, *_other_names.values()):
        for name in names:
            sys.modules.pop(name, None)
    for name, module in _all.items():
        # `import urllib` alone has no `urllib.parse`; but what a package has imported itself, it uses.
        parent, _, child = name.rpartition(".")
        if parent in _all and name not in _needs.get(parent, ()) and _all[parent].__dict__.get(child) is module:
            delattr(_all[parent], child)
    _rename_machinery(_names_at_start)


def imports(source, names):
    """Which of these modules a program seems to import that are not there yet. A guess: what is found wrongly is loaded
    for nothing, what is missed is loaded by each program itself."""
    words = source[:LOOKED_AT].decode("latin-1")
    if "import" not in words:
        return []
    found = set(words.replace(",", " ").replace(";", " ").split())
    return [name for name in names if name in found and name not in _all]


def is_at_hand(name):
    return name in _all


def own(name):
    """For our own use: the session may have another of this name."""
    if name in _all:
        for each in _needed_by(name):
            if each in _kept:
                _bind(each)
        return _all[name]
    if (getattr(sys.modules.get(name), "__file__", None) or "").startswith(_LIBRARY):
        return sys.modules[name]
    path, found = sys.path[:], sys.modules.pop(name, None)
    sys.path[:] = [each for each in path if each.startswith(_LIBRARY)]
    try:
        return __import__(name)
    finally:
        sys.path[:] = path
        if found:
            sys.modules[name] = found


class _Finding:
    """In the place of one folder's way of finding modules."""

    def __init__(self, finder):
        self.finder = finder

    def __call__(self, name, target=None):
        spec = _specs.get(name)
        if spec and target is None and self._is_here(spec) and _can_be_given(name):
            given = _frozen_importlib.ModuleSpec(name, _loader_of(spec), origin=spec.origin)
            given.submodule_search_locations = spec.submodule_search_locations
            given.cached, given.has_location = spec.cached, True
            return given
        return _FileFinder.find_spec(self.finder, name, target)

    def _is_here(self, spec):
        folder = os.path.dirname(spec.origin)
        if spec.submodule_search_locations is not None:
            folder = os.path.dirname(folder)
        return folder == self.finder.path


def _loader_of(spec):
    """Like the one that loaded it, but gives what was loaded."""
    kind = type(spec.loader)
    members = {"create_module": _give, "exec_module": _complete, "__module__": kind.__module__}
    return type(kind.__name__, (kind,), members)(spec.loader.name, spec.loader.path)


def _give(_loader, spec):
    return _kept[spec.name]


def _complete(_loader, module):
    name = module.__spec__.name
    module.__spec__, module.__loader__ = _specs[name], _specs[name].loader
    for each in _needed_by(name):
        if each not in sys.modules and each in _kept:
            _put_back(each)
    _put_back(name)


def _put_back(name):
    module = _kept.pop(name)
    del _specs[name]
    sys.modules[name] = module
    _bind(name)
    sys.modules.update(_other_names.get(name, {}))
    if name == "importlib":
        _rename_machinery(_names_by_importlib)
    renewed.renew(name, module)
    for function, args, kwargs in _at_exit.get(name, ()):
        atexit.register(function, *args, **kwargs)


def _bind(name):
    parent, _, child = name.rpartition(".")
    if parent in _all:
        setattr(_all[parent], child, _all[name])


def _needed_by(name):
    """Everything that had been imported when it was imported, itself excepted; the deepest first."""
    found, open_ = {}, [(name, iter(_imports_of(name)))]
    seen = {name}
    while open_:
        current, rest = open_[-1]
        for each in rest:
            if each not in seen:
                seen.add(each)
                open_.append((each, iter(_imports_of(each))))
                break
        else:
            open_.pop()
            found[current] = None
    del found[name]
    return found


def _imports_of(name):
    parent = name.rpartition(".")[0]
    return [*([parent] if parent else ()), *_needs.get(name, ())]


def _can_be_given(name):
    """Not where one that it needs is not the one it was loaded with: the session may have its own."""
    needed = _needed_by(name)
    names = {each.partition(".")[0] for each in needed if each in _kept} - {name.partition(".")[0]}
    if names & _names_before_library():
        return False
    return all(sys.modules.get(each, _all[each]) is _all[each] for each in needed if each in _all)


_seen_before_library = None, frozenset()


def _names_before_library():
    """Of the modules that were loaded, those that would be found elsewhere."""
    global _seen_before_library
    folders = []
    for folder in sys.path:
        if folder == _LIBRARY:
            break
        try:
            folders.append((folder, os.stat(folder or ".").st_mtime_ns))
        except (OSError, TypeError, ValueError):
            pass
    if folders != _seen_before_library[0]:
        _seen_before_library = folders, frozenset().union(*(_names_in(folder) for folder, _ in folders))
    return _seen_before_library[1]


def _names_in(folder):
    try:
        entries = os.listdir(folder or ".")
    except NotADirectoryError:
        # An archive: it may have any.
        return _all
    except OSError:
        return ()
    names = set()
    for entry in entries:
        name, dot, suffix = entry.partition(".")
        if name in _all and (suffix in _SUFFIXES if dot else _is_package(os.path.join(folder, name))):
            names.add(name)
    return names


def _is_package(folder):
    return any(os.path.isfile(f"{folder}/__init__.{suffix}") for suffix in _SUFFIXES)
