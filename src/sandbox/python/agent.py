"""pid 1 of a sandbox: starts programs for the service and carries their streams. It only supervises; it reads
nothing of the workspace and runs nothing of the session, because it holds capabilities inside (to give each program
namespaces of its own) and no seccomp filter. A program's process waits, already confined, before it is asked for.

Frames, both ways: u32 length of what follows | u8 type | u32 id | payload; see protocol.ts for the types."""

import os
import sys

os.closerange(3, 1 << 16)

import errno
import fcntl
import gc
import json
import select
import signal
import struct
import termios
import time
import types
from collections import deque
from importlib.machinery import SourceFileLoader

HERE = os.path.dirname(os.path.abspath(__file__))
MAX_FRAME = 1 << 20
MAX_QUEUED = 1 << 20
READ_BYTES = 1 << 18
REFILL_AFTER = 0.02
KILL_AFTER = 0.3
BRIDGE_PORT = 3128
EGRESS_SOCKET = "/run/egress.sock"


def load(name):
    """A source of ours, or its bytecode beside it, as a module that no import of the session's code can meet."""
    loader = SourceFileLoader(f"codegen_{name}", f"{HERE}/{name}.py")
    module = types.ModuleType(loader.name)
    module.__file__ = loader.path
    loader.exec_module(module)
    return module


confine = load("confine")
keeper = load("keeper")
program = load("program")


class Pipe:
    """The writing end of a pipe, with what could not be written yet. Tells how much was taken, and when it broke."""

    def __init__(self, fd, on_taken, on_broken):
        os.set_blocking(fd, False)
        self.fd = fd
        self.queue = deque()
        self.on_taken = on_taken
        self.on_broken = on_broken
        self.ending = False

    def write(self, data, tell=True):
        if self.fd < 0:
            return self.on_broken()
        self.queue.append((memoryview(data), tell))
        self.flush()

    def end(self):
        self.ending = True
        self.flush()

    def flush(self, _events=0):
        taken = 0
        try:
            while self.queue and self.fd >= 0:
                data, tell = self.queue[0]
                count = os.write(self.fd, data)
                taken += count if tell else 0
                if count == len(data):
                    self.queue.popleft()
                else:
                    self.queue[0] = (data[count:], tell)
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return self.on_broken()
        if taken:
            self.on_taken(taken)
        if self.queue:
            loop.watch(self.fd, select.EPOLLOUT, self.flush)
        elif self.ending:
            self.close()
        else:
            loop.forget(self.fd)

    def close(self):
        if self.fd >= 0:
            loop.forget(self.fd)
            os.close(self.fd)
            self.fd = -1
        self.queue.clear()


class Loop:
    """Waits for descriptors and calls who watches them."""

    def __init__(self):
        self.epoll = select.epoll()
        self.watched = {}

    def watch(self, fd, events, handler):
        known = self.watched.get(fd)
        self.watched[fd] = (events, handler)
        if known is None:
            self.epoll.register(fd, events)
        elif known[0] != events:
            self.epoll.modify(fd, events)

    def forget(self, fd):
        if self.watched.pop(fd, None):
            self.epoll.unregister(fd)

    def turn(self, timeout):
        for fd, events in self.epoll.poll(timeout):
            watched = self.watched.get(fd)
            if watched:
                watched[1](events)


class Service:
    """The other side: frames in, frames out."""

    def __init__(self, reading, writing):
        self.reading, self.writing = reading, writing
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        self.received = bytearray()
        self.queue = deque()
        self.queued = 0
        loop.watch(reading, select.EPOLLIN, self.receive)

    def send(self, kind, number, payload=b""):
        self.queue.append(struct.pack(">IcI", len(payload) + 5, kind, number))
        if payload:
            self.queue.append(payload)
        self.queued += 9 + len(payload)
        self.flush()

    def tell(self, kind, number, **what):
        self.send(kind, number, json.dumps(what).encode())

    def flush(self, _events=0):
        try:
            while self.queue:
                count = os.writev(self.writing, [self.queue[i] for i in range(min(len(self.queue), 16))])
                self.queued -= count
                while self.queue and count >= len(self.queue[0]):
                    count -= len(self.queue.popleft())
                if count:
                    self.queue[0] = memoryview(self.queue[0])[count:]
        except BlockingIOError:
            loop.watch(self.writing, select.EPOLLOUT, self.flush)
            return
        except OSError:
            os._exit(0)
        loop.forget(self.writing)
        if outputs_waiting:
            resume_outputs()

    def is_full(self):
        return self.queued > MAX_QUEUED

    def receive(self, _events):
        try:
            data = os.read(self.reading, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            os._exit(0)
        self.received += data
        start = 0
        while len(self.received) - start >= 9:
            length, kind, number = struct.unpack_from(">IcI", self.received, start)
            if len(self.received) - start < 4 + length:
                break
            payload = bytes(memoryview(self.received)[start + 9 : start + 4 + length])
            start += 4 + length
            handle(kind, number, payload)
        del self.received[:start]


class Program:
    """One program from before it is asked for until it is gone."""

    def __init__(self, number):
        self.number = number
        self.keeper = None
        self.request = bytearray()
        self.is_started = False
        self.is_preloaded = loading is None
        self.reported = bytearray()
        self.outcome = {}
        self.kill_at = None
        self.outputs = {}

    def build(self):
        make = lambda: os.pipe2(os.O_CLOEXEC)
        (in_r, in_w), (out_r, out_w), (err_r, err_w), (go_r, go_w), (ctl_r, ctl_w), (rep_r, rep_w) = (
            make() for _ in range(6)
        )
        pid = os.fork()
        if pid == 0:
            in_child(lambda: become_keeper(in_r, out_w, err_w, go_r, ctl_r, rep_w), rep_w)
        for fd in (in_r, out_w, err_w, go_r, ctl_r, rep_w):
            os.close(fd)
        self.stdin = Pipe(in_w, self.stdin_taken, self.stdin_broken)
        self.go = Pipe(go_w, lambda _: None, lambda: None)
        self.control, self.report = ctl_w, rep_r
        self.outputs = {out_r: b"O", err_r: b"E"}
        for fd in (rep_r, out_r, err_r):
            os.set_blocking(fd, False)
        loop.watch(rep_r, select.EPOLLIN, self.read_report)
        children[pid] = (lambda _status: None) if NESTED else self.keeper_ended
        if not NESTED:
            self.keeper = pid

    def read_report(self, _events=0):
        while True:
            try:
                data = os.read(self.report, 65536)
            except BlockingIOError:
                break
            if not data:
                loop.forget(self.report)
                break
            self.reported += data
        *lines, rest = self.reported.split(b"\n")
        self.reported = bytearray(rest)
        for line in lines:
            said = json.loads(line)
            if "keeper" in said:
                self.keeper = said["keeper"]
                children[self.keeper] = self.keeper_ended
                if self.keeper in early:
                    return self.keeper_ended(early.pop(self.keeper))
            if "ready" in said:
                service.tell(b"N", self.number, keeper=self.keeper, preloaded=self.is_preloaded)
            self.outcome.update(said)
            if "end" in said and self.is_started:
                # The keeper has killed and reaped all that was in its namespace. That it goes itself, and the kernel
                # takes the namespace down, need nobody wait for.
                return self.finish(said["end"])
        if self.keeper is None and self.report not in loop.watched:
            self.discard()
            service.tell(b"n", self.number, error=self.outcome.get("error", "it ended before it was ready"))

    def start(self, piece, is_last):
        self.request += piece
        if not is_last:
            return
        self.is_started = True
        self.go.write(struct.pack(">I", len(self.request)) + bytes(self.request))
        self.go.end()
        self.request = bytearray()
        self.watch_outputs()

    def watch_outputs(self):
        for fd in self.outputs:
            loop.watch(fd, select.EPOLLIN, lambda _events, fd=fd: self.read_output(fd))

    def read_output(self, fd):
        if service.is_full():
            outputs_waiting.add(self)
            for each in self.outputs:
                loop.forget(each)
            return
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return
        if data:
            service.send(self.outputs[fd], self.number, data)
        else:
            self.close_output(fd)

    def close_output(self, fd):
        loop.forget(fd)
        os.close(fd)
        del self.outputs[fd]

    def order(self, order):
        try:
            os.write(self.control, order)
        except OSError:
            pass
        if order == keeper.KILL and self.kill_at is None:
            self.kill_at = time.monotonic() + KILL_AFTER

    def kill(self):
        self.kill_at = None
        if self.keeper in children:
            os.kill(self.keeper, signal.SIGKILL)

    def stdin_taken(self, count):
        service.send(b"i", self.number, struct.pack(">I", count))

    def stdin_broken(self):
        service.send(b"g", self.number)

    def keeper_ended(self, status):
        """The keeper is pid 1 of the program's namespace: when it is gone, so is all else in there."""
        if self.number not in programs:
            return
        self.read_report()
        if self.number not in programs:
            return
        if self.is_started:
            if not NESTED:
                os.kill(-1, signal.SIGKILL)
            how = os.WTERMSIG(status) if os.WIFSIGNALED(status) else signal.SIGKILL
            return self.finish({"exitCode": None, "signal": how, "killed": None})
        service.tell(b"n", self.number, error=self.outcome.get("error", "it ended before it was asked for"))
        self.discard()
        refill(0.1)

    def finish(self, end):
        for fd in list(self.outputs):
            self.read_what_is_left(fd)
        service.tell(b"X", self.number, **end, failed=self.outcome.get("failed"))
        self.discard()
        refill(0)

    def read_what_is_left(self, fd):
        """All that was in the pipe when the last process of the program ended. Whoever else holds the other end
        (descriptors can be handed to another program) cannot make this longer."""
        left = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0\0\0\0"))[0]
        while left > 0:
            try:
                data = os.read(fd, min(left, READ_BYTES))
            except BlockingIOError:
                break
            if not data:
                break
            left -= len(data)
            service.send(self.outputs[fd], self.number, data)

    def discard(self):
        programs.pop(self.number, None)
        outputs_waiting.discard(self)
        self.stdin.close()
        self.go.close()
        for fd in list(self.outputs):
            self.close_output(fd)
        loop.forget(self.report)
        os.close(self.report)
        os.close(self.control)


class Helper:
    """The confined child that touches files for the service; messages go through as they are."""

    def __init__(self):
        (in_r, in_w), (out_r, out_w) = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
        self.pid = os.fork()
        if self.pid == 0:
            in_child(lambda: become_helper(in_r, out_w))
        os.close(in_r)
        os.close(out_w)
        self.sending = Pipe(in_w, lambda count: service.send(b"h", 0, struct.pack(">I", count)), lambda: None)
        self.receiving = out_r
        self.received = bytearray()
        os.set_blocking(out_r, False)
        self.listen()
        children[self.pid] = self.ended

    def listen(self):
        loop.watch(self.receiving, select.EPOLLIN, self.receive)

    watch_outputs = listen

    def message(self, payload):
        self.sending.write(struct.pack(">I", len(payload)), tell=False)
        self.sending.write(payload)

    def receive(self, _events):
        if service.is_full():
            outputs_waiting.add(self)
            loop.forget(self.receiving)
            return
        try:
            data = os.read(self.receiving, READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            loop.forget(self.receiving)
            return
        self.received += data
        while len(self.received) >= 4:
            length = int.from_bytes(self.received[:4], "big")
            if length > MAX_FRAME - 64:
                return self.kill()
            if len(self.received) < 4 + length:
                break
            service.send(b"F", 0, bytes(memoryview(self.received)[4 : 4 + length]))
            del self.received[: 4 + length]

    def kill(self):
        if self.pid in children:
            os.kill(self.pid, signal.SIGKILL)

    def ended(self, status):
        global helper
        helper = None
        outputs_waiting.discard(self)
        self.sending.close()
        loop.forget(self.receiving)
        os.close(self.receiving)
        service.tell(b"f", 0, status=status)


class Bridge:
    """The child that carries connections from the sandbox's loopback to the egress socket."""

    def __init__(self):
        ready_r, ready_w = os.pipe2(os.O_CLOEXEC)
        self.began = time.monotonic()
        self.pid = os.fork()
        if self.pid == 0:
            in_child(lambda: become_bridge(ready_w))
        os.close(ready_w)
        self.ready = ready_r
        loop.watch(ready_r, select.EPOLLIN, self.is_listening)
        children[self.pid] = self.ended

    def is_listening(self, _events):
        if os.read(self.ready, 1):
            service.send(b"b", 1)
        loop.forget(self.ready)

    def stop(self):
        self.began = 0
        os.kill(self.pid, signal.SIGKILL)

    def ended(self, _status):
        global bridge
        loop.forget(self.ready)
        os.close(self.ready)
        # One that cannot live is not tried over and over.
        bridge = Bridge() if bridge_wanted and time.monotonic() - self.began > 1 else None
        if bridge is None:
            service.send(b"b", 0)


def in_child(work, report=None):
    """Runs `work` in a fresh child, which never comes back to the agent's loop."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        work()
    except BaseException as error:
        said = f"{type(error).__name__}: {error}"
        try:
            os.write(2 if report is None else report, (json.dumps({"error": said}) + "\n").encode())
        except OSError:
            pass
    finally:
        os._exit(126)


def only_these(*fds):
    """Makes these the descriptors 0, 1, 2 … and closes all others."""
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in fds]
    for number, fd in enumerate(high):
        os.dup2(fd, number, inheritable=number < 3)
    os.closerange(len(fds), 1 << 16)


def become_keeper(stdin, stdout, stderr, go, control, report):
    if NESTED:
        confine.unshare(confine.NEW_PIDS)
        pid = os.fork()
        if pid:
            # Our child is pid 1 of the new namespace; when we leave, the agent becomes its parent.
            os.write(report, b'{"keeper": %d}\n' % pid)
            os._exit(0)
    only_these(stdin, stdout, stderr, go, control, report)
    go, control, report = 3, 4, 5
    os.setsid()
    if NESTED:
        confine.unshare(confine.NEW_MOUNTS | confine.NEW_IPC)
        confine.mount_fresh(CONFIG["tmpBytes"], CONFIG["shmBytes"])
    else:
        confine.adopt_orphans()
    confine.drop_privileges(FILTER)
    confine.set_dumpable(False)
    pid = os.fork()
    if pid == 0:
        os.close(control)
        in_child(lambda: become_program(go, report), report)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(go)
    keeper.keep(pid, control, report)


def become_program(go, report):
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    confine.set_dumpable(True)
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            # When memory runs out it is the program that dies, not those who report on it.
            file.write("800")
    except OSError:
        pass
    os.write(report, b'{"ready": true}\n')
    length = int.from_bytes(read_exactly(go, 4), "big")
    request = json.loads(read_exactly(go, length))
    os.close(go)
    try:
        program.run(request, started=lambda: os.close(report))
    except program.CannotStart as why:
        failed = {"failed": {"code": why.code, "message": why.message}}
        os.write(report, json.dumps(failed).encode() + b"\n")
        os._exit(127)


def become_helper(reading, writing):
    only_these(os.open("/dev/null", os.O_RDONLY), 2, 2, reading, writing)
    os.setsid()
    files = load("files")
    program.limit(CONFIG["helperLimits"])
    confine.drop_privileges(FILTER)
    confine.set_dumpable(True)
    files.serve(3, 4)


def become_bridge(ready):
    only_these(os.open("/dev/null", os.O_RDONLY), 2, 2, ready)
    os.setsid()
    serve = load("bridge").serve
    confine.drop_privileges(FILTER)
    serve(BRIDGE_PORT, EGRESS_SOCKET, on_listening=lambda: os.write(3, b"1"))


def read_exactly(fd, length):
    data = bytearray()
    while len(data) < length:
        piece = os.read(fd, length - len(data))
        if not piece:
            os._exit(0)
        data += piece
    return bytes(data)


def handle(kind, number, payload):
    global helper, bridge, bridge_wanted, wanted_spares
    one = programs.get(number)
    if kind == b"P":
        service.send(b"G", number)
    elif kind == b"W":
        refill(0)
    elif kind in b"rR":
        if one:
            # From now on one waits for the next program while another is being made.
            wanted_spares = 2
            one.start(payload, is_last=kind == b"R")
            refill(REFILL_AFTER)
    elif kind == b"I":
        if one:
            one.stdin.write(payload)
    elif kind == b"E":
        if one:
            one.stdin.end()
    elif kind == b"T":
        if one:
            one.order(keeper.TERMINATE)
    elif kind == b"K":
        if one:
            one.order(keeper.KILL)
    elif kind == b"F":
        helper = helper or Helper()
        helper.message(payload)
    elif kind == b"f":
        if helper:
            helper.kill()
    elif kind == b"B":
        bridge_wanted = bool(number)
        if bridge_wanted and bridge is None:
            bridge = Bridge()
        elif not bridge_wanted and bridge:
            bridge.stop()


def resume_outputs():
    for one in list(outputs_waiting):
        outputs_waiting.discard(one)
        one.watch_outputs()


def refill(after):
    """Wants enough processes to be waiting for programs, `after` so many seconds."""
    global refill_at
    if not CONFIG["refill"]:
        return
    if len(spares()) < wanted_spares:
        at = time.monotonic() + after
        refill_at = at if refill_at is None else min(refill_at, at)


def spares():
    return [one for one in programs.values() if not one.is_started]


def build_spare():
    global refill_at, last_number
    refill_at = None
    last_number += 1
    one = Program(last_number)
    try:
        one.build()
    except OSError as error:
        # No process to be had: the session uses all it may. Programs that end will make room.
        service.tell(b"n", last_number, error=f"fork: {error.strerror}")
        refill(0.1)
        return
    programs[last_number] = one
    refill(REFILL_AFTER)


def reap(_events):
    os.read(wake_r, 4096)
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        ended = children.pop(pid, None)
        if ended:
            ended(status)
        else:
            # An orphan, or a keeper that ended before its pid was read; few enough to remember.
            early[pid] = status


def preload(names):
    """Imports what programs often use, one module a turn."""
    for name in names:
        try:
            __import__(name)
        except Exception:
            pass
        yield
    gc.collect()
    gc.freeze()


def next_timeout(now):
    moments = [one.kill_at for one in programs.values() if one.kill_at] + ([refill_at] if refill_at else [])
    return max(0, min(moments) - now) if moments else -1


CONFIG = json.loads(sys.argv[1])
NESTED = CONFIG["nested"]
FILTER = None
if CONFIG["applyFilter"]:
    with open(f"{HERE}/filter.bpf", "rb") as file:
        FILTER = file.read()

confine.set_dumpable(False)
loop = Loop()
programs, children, early, outputs_waiting = {}, {}, {}, set()
helper = bridge = refill_at = None
bridge_wanted = False
last_number = 0
wanted_spares = 1
reading, writing = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in (0, 1))
null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
os.dup2(null, 0)
os.dup2(2, 1)
service = Service(reading, writing)
wake_r, wake_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
signal.signal(signal.SIGCHLD, lambda *_: None)
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
loop.watch(wake_r, select.EPOLLIN, reap)
service.tell(b"H", 0, pid=os.getpid(), version=sys.version.split()[0])
loading = preload(CONFIG["preload"])
if CONFIG["spare"]:
    gc.freeze()
    build_spare()
while True:
    now = time.monotonic()
    for one in list(programs.values()):
        if one.kill_at and one.kill_at <= now:
            one.kill()
    if refill_at and refill_at <= now:
        build_spare()
    is_idle = loading and not any(one.is_started for one in programs.values())
    loop.turn(0 if is_idle else next_timeout(now))
    if is_idle and next(loading, True):
        loading = None
        if CONFIG["preload"]:
            build_spare()
