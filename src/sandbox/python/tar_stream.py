"""A tree as a tar stream. Each entry is what any tar program reads, and carries a pax `comment` with what the usual fields
cannot say; `checkpoints/archive-entry.ts` describes it. After the two empty blocks that end the archive comes one line of
JSON: what was left out, by reason, and files that changed while they were read."""
import json
import re
import struct

HEADER = struct.Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x")
BLOCK_BYTES = 512
# The field of the old header holds eleven octal digits; a larger size stands in a pax record.
MAX_FIELD_SIZE = 8**11 - 1
MAX_FIELD_TIME = 2**31 - 1
MAX_FIELD_NAME = 100
# Of this many files that changed the names are told.
MAX_CHANGED = 100
NANOSECONDS = 1_000_000_000
ZERO = b"0000000"
MAGIC = b"ustar\x0000"
# Of the fields that are the same in each header, and of the checksum's own, which counts as spaces.
CONSTANT_SUM = 4 * sum(ZERO) + sum(MAGIC) + 8 * ord(" ")
UNSAFE = re.compile(rb"[^\w./+,=@~:-]")


class TarWriter:
    def __init__(self, out):
        self._out = out
        self._pax_headers = {}
        self._left_out = {}
        self._changed = []

    def directory(self, path, mode, mtime_ns):
        self._entry(b"5", path, mode, mtime_ns, 0, b"")

    def symlink(self, path, mode, mtime_ns, target):
        self._entry(b"2", path, mode, mtime_ns, 0, target)

    def file(self, path, mode, mtime_ns, size):
        self._entry(b"0", path, mode, mtime_ns, size, b"")

    def after_file(self, path, size, changed):
        self._out.write(bytes(-size % BLOCK_BYTES))
        if changed and len(self._changed) < MAX_CHANGED:
            self._changed.append(path.decode("utf-8", "replace"))

    def leave_out(self, path, why):
        why = why.decode()
        self._left_out[why] = self._left_out.get(why, 0) + 1

    def end(self):
        report = {"leftOut": self._left_out, "changed": self._changed}
        self._out.write(bytes(2 * BLOCK_BYTES) + json.dumps(report).encode() + b"\n")

    def _entry(self, kind, path, mode, mtime_ns, size, target):
        name = _shown(path) + (b"/" if kind == b"5" else b"")
        link = _shown(target)
        said = b"codegen-worker %o %d %s" % (mode, mtime_ns, escape(path))
        records = _record(b"mtime", _decimal_seconds(mtime_ns))
        records += _record(b"comment", said + b" " + escape(target) if kind == b"2" else said)
        if not _fits(name):
            records += _record(b"path", name)
            name = b"entry"
        if not _fits(link):
            records += _record(b"linkpath", link)
            link = b"entry"
        if size > MAX_FIELD_SIZE:
            records += _record(b"size", b"%d" % size)
        time = max(0, min(mtime_ns // NANOSECONDS, MAX_FIELD_TIME))
        self._out.write(
            self._pax_header(len(records))
            + records
            + bytes(-len(records) % BLOCK_BYTES)
            + _header(kind, name, mode, size if size <= MAX_FIELD_SIZE else 0, time, link)
        )

    def _pax_header(self, size):
        header = self._pax_headers.get(size)
        if header is None:
            header = self._pax_headers[size] = _header(b"x", b"PaxHeader", 0o644, size, 0, b"")
        return header


def escape(text):
    """Without spaces or anything else that is not printable ASCII."""
    if not UNSAFE.search(text):
        return text
    return UNSAFE.sub(lambda found: b"%%%02x" % found[0][0], text)


def _header(kind, name, mode, size, time, link):
    mode, size, time = b"%07o" % mode, b"%011o" % size, b"%011o" % time
    checksum = CONSTANT_SUM + sum(name) + sum(mode) + sum(size) + sum(time) + sum(kind) + sum(link)
    fields = (name, mode, ZERO, ZERO, size, time, b"%06o\0 " % checksum, kind, link, MAGIC, b"", b"", ZERO, ZERO, b"")
    return HEADER.pack(*fields)


def _record(key, value):
    """`LENGTH KEY=VALUE`, where the length counts itself."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _shown(text):
    try:
        text.decode()
        return text
    except UnicodeDecodeError:
        return escape(text)


def _fits(name):
    return len(name) <= MAX_FIELD_NAME and name.isascii()


def _decimal_seconds(ns):
    return b"%s%d.%09d" % (b"-" if ns < 0 else b"", abs(ns) // NANOSECONDS, abs(ns) % NANOSECONDS)
