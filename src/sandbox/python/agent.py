"""pid 1 of a sandbox: starts programs for the service and carries their streams. It only supervises; it reads
nothing of the workspace and runs nothing of the session, because it holds capabilities inside (to give each program
namespaces of its own) and no seccomp filter. A program's process waits, already confined, before it is asked for."""

import os
import sys

# What bubblewrap inherited by mistake is nobody's here.
os.closerange(3, 1 << 16)

# Before all others, so that it sees what they load.
import loaded

loaded.watch()

import _signal as signal
import fcntl
import gc
import select
import time

import confine
import keeper
import plain_json
import program
from companions import Bridge, Helper
from loop import Loop
from running import Program
from service import Service

HERE = os.path.dirname(os.path.abspath(__file__))
# The session's code meets no module of ours, and may use these names itself.
sys.path[:] = [path for path in sys.path if path != HERE]
sys.path_importer_cache.pop(HERE, None)
for name in [name for name, module in sys.modules.items() if getattr(module, "__file__", "").startswith(HERE)]:
    if name != "__main__":
        del sys.modules[name]

REFILL_AFTER = 0.02


class Config:
    def __init__(self, text):
        given = plain_json.loads(text)
        self.nested = given["nested"]
        self.spare = given["spare"]
        self.refill = given["refill"]
        self.preload = given["preload"]
        self.preload_when_used = given["preloadWhenUsed"]
        self.tmp_bytes = given["tmpBytes"]
        self.shm_bytes = given["shmBytes"]
        self.helper_limits = given["helperLimits"]
        self.seccomp_filter = None
        if given["applyFilter"]:
            with open(f"{HERE}/filter.bpf", "rb") as file:
                self.seccomp_filter = file.read()


class Agent:
    def __init__(self, config, reading, writing):
        self.config = config
        self.loop = Loop()
        self.programs = {}
        """Who is told when a child has ended; orphans are nobody's."""
        self.children = {}
        """Those whose output waits until the service has taken what there is."""
        self.waiting = set()
        self.bridge = None
        """Those that live, by the number that the service gave them; it never gives a number twice."""
        self.helpers = {}
        self._last_helper = 0
        self.is_bridge_wanted = False
        self._wanted_spares = 1
        self._refill_at = None
        self._last_number = 0
        self._to_load = list(config.preload)
        self._tried = set(config.preload)
        self._times_loaded = 0
        self.service = Service(self.loop, reading, writing, self._handle, self._resume_outputs)
        self._watch_children()

    def run(self):
        self.service.tell(b"H", 0, pid=os.getpid(), version=sys.version.split()[0])
        if self.config.spare:
            program.prepare_all()
            gc.freeze()
            self._build_spare()
        while True:
            now = time.monotonic()
            for one in list(self.programs.values()):
                if one.kill_at and one.kill_at <= now:
                    one.kill()
            if self._refill_at and self._refill_at <= now:
                self._build_spare()
            is_idle = self._to_load and not any(one.is_started for one in self.programs.values())
            self.loop.turn(0 if is_idle else self._next_timeout(now))
            if is_idle:
                self._load_one_more()

    def refill(self, after):
        """Wants enough processes to be waiting for programs, `after` so many seconds."""
        waiting = sum(not one.is_started for one in self.programs.values())
        if self.config.refill and waiting < self._wanted_spares:
            at = time.monotonic() + after
            self._refill_at = at if self._refill_at is None else min(self._refill_at, at)

    def _build_spare(self):
        self._refill_at = None
        self._last_number += 1
        loaded.note()
        one = Program(self, self._last_number, self._times_loaded)
        try:
            one.build()
        except OSError as error:
            # No process to be had: the session uses all it may. Programs that end will make room.
            self.service.tell(b"n", self._last_number, error=f"fork: {error.strerror}")
            self.refill(0.1)
            return
        self.programs[self._last_number] = one
        self.refill(REFILL_AFTER)

    def load(self, names):
        """Has modules that a program wanted loaded for those that follow, as soon as nothing runs. Only those that the
        service named: without namespaces a program could reach where this is said."""
        for name in self.config.preload_when_used:
            if isinstance(names, list) and name in names and name not in self._tried:
                self._tried.add(name)
                self._to_load.append(name)

    def _load_one_more(self):
        """One a turn: who asks for a program meanwhile waits for no more than that."""
        try:
            __import__(self._to_load.pop(0))
        except Exception:
            pass
        if self._to_load:
            return
        gc.collect()
        gc.freeze()
        self._times_loaded += 1
        self._build_spare()

    def _next_timeout(self, now):
        moments = [one.kill_at for one in self.programs.values() if one.kill_at]
        if self._refill_at:
            moments.append(self._refill_at)
        return max(0, min(moments) - now) if moments else -1

    def _resume_outputs(self):
        while self.waiting:
            self.waiting.pop().watch_outputs()

    def _watch_children(self):
        self._wake, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self.loop.watch(self._wake, select.EPOLLIN, self._reap)

    def _reap(self, _events):
        os.read(self._wake, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if os.WIFSTOPPED(status):
                # Without a namespace of its own a program can stop its keeper, which must be there at its end.
                os.kill(pid, signal.SIGCONT)
                continue
            ended = self.children.pop(pid, None)
            if ended:
                ended(status)

    def _handle(self, kind, number, payload):
        if kind == b"P":
            self.service.send(b"G", number)
        elif kind == b"W":
            self.refill(0)
        elif kind == b"F":
            self._helper_message(number, payload)
        elif kind == b"f":
            if number in self.helpers:
                self.helpers[number].kill()
        elif kind == b"B":
            self._want_bridge(bool(number))
        elif number in self.programs:
            self._handle_program(kind, self.programs[number], payload)

    def _handle_program(self, kind, one, payload):
        if kind in (b"r", b"R"):
            # From now on one waits for the next program while another is being made.
            self._wanted_spares = 2
            one.start(payload, is_last=kind == b"R")
            self.refill(REFILL_AFTER)
        elif kind == b"I":
            one.stdin.write(payload)
        elif kind == b"E":
            one.stdin.end()
        elif kind == b"T":
            one.order(keeper.TERMINATE)
        elif kind == b"K":
            one.order(keeper.KILL)

    def _helper_message(self, number, payload):
        """The first one to a number makes a helper; one to a helper that has gone is for nobody."""
        if number > self._last_helper:
            self._last_helper = number
            try:
                self.helpers[number] = Helper(self, number)
            except OSError as error:
                # The session uses all the processes or descriptors it may. Its programs need not die of that.
                self.service.tell(b"f", number, error=f"fork: {error.strerror}")
        if number in self.helpers:
            self.helpers[number].message(payload)

    def _want_bridge(self, is_wanted):
        self.is_bridge_wanted = is_wanted
        if is_wanted and self.bridge is None:
            self.start_bridge()
        elif not is_wanted and self.bridge:
            self.bridge.stop()


    def start_bridge(self):
        try:
            self.bridge = Bridge(self)
        except OSError:
            self.service.send(b"b", 0)


def main():
    confine.set_dumpable(False)
    confine.bound_capabilities()
    # The frames move aside, so that nothing that prints can come between them.
    reading, writing = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in (0, 1))
    os.dup2(os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC), 0)
    os.dup2(2, 1)
    Agent(Config(sys.argv[1]), reading, writing).run()


main()
