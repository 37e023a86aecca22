"""The other side: frames in, frames out. u32 length of what follows | u8 type | u32 id | payload; protocol.ts lists
the types."""

import os
import select
import struct
from _collections import deque

import plain_json

MAX_QUEUED = 1 << 20
READ_BYTES = 1 << 18
_HEADER = struct.Struct(">IcI")


class Service:
    def __init__(self, loop, reading, writing, handle, on_drained):
        """When the service is gone, so are we."""
        self._loop, self._reading, self._writing = loop, reading, writing
        self._handle, self._on_drained = handle, on_drained
        self._received = bytearray()
        self._queue = deque()
        self._queued = 0
        os.set_blocking(reading, False)
        os.set_blocking(writing, False)
        loop.watch(reading, select.EPOLLIN, self._receive)

    def send(self, kind, number, payload=b""):
        self._queue.append(_HEADER.pack(len(payload) + 5, kind, number))
        if payload:
            self._queue.append(payload)
        self._queued += _HEADER.size + len(payload)
        self._flush()

    def tell(self, kind, number, **what):
        self.send(kind, number, plain_json.dumps(what).encode())

    def is_full(self):
        """No more output should be read until it is drained."""
        return self._queued > MAX_QUEUED

    def _flush(self, _events=0):
        try:
            while self._queue:
                count = os.writev(self._writing, [self._queue[i] for i in range(min(len(self._queue), 16))])
                self._queued -= count
                while self._queue and count >= len(self._queue[0]):
                    count -= len(self._queue.popleft())
                if count:
                    self._queue[0] = memoryview(self._queue[0])[count:]
        except BlockingIOError:
            self._loop.watch(self._writing, select.EPOLLOUT, self._flush)
            return
        except OSError:
            os._exit(0)
        self._loop.forget(self._writing)
        self._on_drained()

    def _receive(self, _events):
        try:
            data = os.read(self._reading, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            os._exit(0)
        self._received += data
        start = 0
        while len(self._received) - start >= _HEADER.size:
            length, kind, number = _HEADER.unpack_from(self._received, start)
            if len(self._received) - start < 4 + length:
                break
            payload = bytes(memoryview(self._received)[start + _HEADER.size : start + 4 + length])
            start += 4 + length
            self._handle(kind, number, payload)
        del self._received[:start]
