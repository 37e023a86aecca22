"""One program, from before it is asked for until it is gone."""

import _signal as signal
import fcntl
import os
import select
import struct
import termios
import time

import children
import keeper
import plain_json
from loop import Pipe
from service import READ_BYTES

KILL_AFTER = 0.3
LINE_END_WITHIN_MS = 1


class Program:
    def __init__(self, agent, number, times_loaded):
        self.agent = agent
        self.number = number
        self.times_loaded = times_loaded
        self.is_started = False
        self.keeper = None
        """When the keeper is killed, if it did not do as it was told until then."""
        self.kill_at = None
        self._request = bytearray()
        self._reported = bytearray()
        self._outcome = {}
        self._outputs = {}

    def build(self):
        (in_r, in_w), (out_r, out_w), (err_r, err_w), (go_r, go_w), (ctl_r, ctl_w), (rep_r, rep_w) = (
            os.pipe2(os.O_CLOEXEC) for _ in range(6)
        )
        theirs = (in_r, out_w, err_w, go_r, ctl_r, rep_w)
        try:
            self.keeper = children.fork_keeper(self.agent.config, theirs)
        except OSError:
            for fd in (*theirs, in_w, out_r, err_r, go_w, ctl_w, rep_r):
                os.close(fd)
            raise
        for fd in theirs:
            os.close(fd)
        loop, service = self.agent.loop, self.agent.service
        taken = lambda count: service.send(b"i", self.number, struct.pack(">I", count))
        self.stdin = Pipe(loop, in_w, taken, lambda: service.send(b"g", self.number))
        self._go = Pipe(loop, go_w)
        self._control, self._report = ctl_w, rep_r
        self._outputs = {out_r: b"O", err_r: b"E"}
        for fd in (rep_r, out_r, err_r):
            os.set_blocking(fd, False)
        loop.watch(rep_r, select.EPOLLIN, self._read_report)
        self.agent.children[self.keeper] = self._keeper_ended

    def start(self, piece, is_last):
        self._request += piece
        if not is_last:
            return
        self.is_started = True
        self._go.write(struct.pack(">I", len(self._request)) + bytes(self._request))
        self._go.end()
        self._request = bytearray()
        self.watch_outputs()

    def order(self, order):
        try:
            os.write(self._control, order)
        except OSError:
            pass
        if order == keeper.KILL and self.kill_at is None:
            self.kill_at = time.monotonic() + KILL_AFTER

    def kill(self):
        self.kill_at = None
        if self.keeper in self.agent.children:
            os.kill(self.keeper, signal.SIGKILL)

    def watch_outputs(self):
        for fd in self._outputs:
            self.agent.loop.watch(fd, select.EPOLLIN, lambda _events, fd=fd: self._read_output(fd))

    def _read_output(self, fd):
        if self.agent.service.is_full():
            for each in self._outputs:
                self.agent.loop.forget(each)
            self.agent.waiting.add(self)
            return
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return
        if data:
            self.agent.service.send(self._outputs[fd], self.number, self._whole_line(fd, data))
        else:
            self._close_output(fd)

    def _whole_line(self, fd, data):
        """A Python without buffers writes the end of a line apart: where that is about to come, it is no event of its own."""
        if data.endswith(b"\n"):
            return data
        coming = select.poll()
        coming.register(fd, select.POLLIN)
        if coming.poll(LINE_END_WITHIN_MS):
            try:
                data += os.read(fd, READ_BYTES)
            except BlockingIOError:
                pass
        return data

    def _close_output(self, fd):
        self.agent.loop.forget(fd)
        os.close(fd)
        del self._outputs[fd]

    def _is_here(self):
        return self.number in self.agent.programs

    def _read_report(self, _events=0):
        while True:
            try:
                data = os.read(self._report, 65536)
            except BlockingIOError:
                break
            if not data:
                self.agent.loop.forget(self._report)
                break
            self._reported += data
        *lines, self._reported = self._reported.split(b"\n")
        for line in lines:
            self._heard(plain_json.loads(line))
            if not self._is_here():
                return

    def _heard(self, said):
        self._outcome.update(said)
        if "ready" in said:
            self.agent.service.tell(b"N", self.number, keeper=self.keeper, loaded=self.times_loaded)
        elif "wants" in said:
            self.agent.load(said["wants"])
        elif "end" in said and self.is_started:
            # The keeper has killed and reaped all that was in its namespace. That it goes itself, and the kernel
            # takes the namespace down, need nobody wait for.
            self._finish(said["end"])

    def _keeper_ended(self, status):
        """The keeper is pid 1 of the program's namespace: when it is gone, so is all else in there."""
        if self._is_here():
            self._read_report()
        if not self._is_here():
            return
        if not self.is_started:
            return self._failed("it ended before it was asked for")
        if not self.agent.config.nested:
            os.kill(-1, signal.SIGKILL)
        how = os.WTERMSIG(status) if os.WIFSIGNALED(status) else signal.SIGKILL
        self._finish({"exitCode": None, "signal": how, "killed": None})

    def _failed(self, why):
        self._discard()
        self.agent.service.tell(b"n", self.number, error=self._outcome.get("error", why))
        self.agent.refill(0.1)

    def _finish(self, end):
        for fd in self._outputs:
            self._read_what_is_left(fd)
        self.agent.service.tell(b"X", self.number, **end, failed=self._outcome.get("failed"))
        self._discard()
        self.agent.refill(0)

    def _read_what_is_left(self, fd):
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
            self.agent.service.send(self._outputs[fd], self.number, data)

    def _discard(self):
        self.agent.programs.pop(self.number, None)
        self.agent.waiting.discard(self)
        self.stdin.close()
        self._go.close()
        for fd in list(self._outputs):
            self._close_output(fd)
        self.agent.loop.forget(self._report)
        os.close(self._report)
        os.close(self._control)
