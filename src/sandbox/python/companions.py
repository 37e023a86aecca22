"""Children that live beside the programs: one that touches files for the service, one that leads to the proxy."""

import _signal as signal
import os
import select
import struct
import time

import children
from loop import Pipe
from service import READ_BYTES

MAX_MESSAGE = (1 << 20) - 64


class Helper:
    """Touches files; messages go through as they are, under the number that the service gave it."""

    def __init__(self, agent, number):
        self.agent = agent
        self.number = number
        (in_r, in_w), (out_r, out_w) = os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)
        try:
            self._pid = children.fork(lambda: children.become_helper(agent.config, in_r, out_w))
        except OSError:
            for fd in (in_r, in_w, out_r, out_w):
                os.close(fd)
            raise
        os.close(in_r)
        os.close(out_w)
        self._sending = Pipe(agent.loop, in_w, lambda count: agent.service.send(b"h", number, struct.pack(">I", count)))
        self._receiving = out_r
        self._received = bytearray()
        os.set_blocking(out_r, False)
        self.watch_outputs()
        agent.children[self._pid] = self._ended

    def watch_outputs(self):
        self.agent.loop.watch(self._receiving, select.EPOLLIN, self._receive)

    def message(self, payload):
        self._sending.write(struct.pack(">I", len(payload)), tell=False)
        self._sending.write(payload)

    def kill(self):
        if self._pid in self.agent.children:
            os.kill(self._pid, signal.SIGKILL)

    def _receive(self, _events):
        if self.agent.service.is_full():
            self.agent.loop.forget(self._receiving)
            self.agent.waiting.add(self)
            return
        try:
            data = os.read(self._receiving, READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self.agent.loop.forget(self._receiving)
            return
        self._received += data
        while len(self._received) >= 4:
            length = int.from_bytes(self._received[:4], "big")
            if length > MAX_MESSAGE:
                return self.kill()
            if len(self._received) < 4 + length:
                break
            self.agent.service.send(b"F", self.number, bytes(memoryview(self._received)[4 : 4 + length]))
            del self._received[: 4 + length]

    def _ended(self, status):
        self.agent.helpers.pop(self.number, None)
        self.agent.waiting.discard(self)
        self._sending.close()
        self.agent.loop.forget(self._receiving)
        os.close(self._receiving)
        self.agent.service.tell(b"f", self.number, status=status)


class Bridge:
    """Carries connections from the sandbox's loopback to the egress socket."""

    def __init__(self, agent):
        self.agent = agent
        self._ready, ready_w = os.pipe2(os.O_CLOEXEC)
        self._began = time.monotonic()
        try:
            self._pid = children.fork(lambda: children.become_bridge(agent.config, ready_w))
        except OSError:
            os.close(self._ready)
            raise
        finally:
            os.close(ready_w)
        agent.loop.watch(self._ready, select.EPOLLIN, self._is_listening)
        agent.children[self._pid] = self._ended

    def stop(self):
        self._began = 0
        os.kill(self._pid, signal.SIGKILL)

    def _is_listening(self, _events):
        if os.read(self._ready, 1):
            self.agent.service.send(b"b", 1)
        self.agent.loop.forget(self._ready)

    def _ended(self, _status):
        self.agent.loop.forget(self._ready)
        os.close(self._ready)
        # One that cannot live is not tried over and over.
        again = self.agent.is_bridge_wanted and time.monotonic() - self._began > 1
        self.agent.bridge = None
        if again:
            self.agent.start_bridge()
        else:
            self.agent.service.send(b"b", 0)
