"""Waiting for many descriptors at once, and writing to pipes whose readers may be slow."""

import os
import select
from _collections import deque


class Loop:
    """Waits for descriptors and calls who watches them."""

    def __init__(self):
        self._epoll = select.epoll()
        self._watched = {}

    def watch(self, fd, events, handler):
        known = self._watched.get(fd)
        self._watched[fd] = (events, handler)
        if known is None:
            self._epoll.register(fd, events)
        elif known[0] != events:
            self._epoll.modify(fd, events)

    def forget(self, fd):
        if self._watched.pop(fd, None):
            self._epoll.unregister(fd)

    def is_watched(self, fd):
        return fd in self._watched

    def turn(self, timeout):
        for fd, events in self._epoll.poll(timeout):
            watched = self._watched.get(fd)
            if watched:
                watched[1](events)


class Pipe:
    """The writing end of a pipe, with what could not be written yet. Tells how much was taken, and when it broke."""

    def __init__(self, loop, fd, on_taken=lambda count: None, on_broken=lambda: None):
        os.set_blocking(fd, False)
        self._loop = loop
        self._fd = fd
        self._queue = deque()
        self._on_taken = on_taken
        self._on_broken = on_broken
        self._is_ending = False

    def write(self, data, tell=True):
        """With `tell`, its bytes count as taken when they are."""
        if self._fd < 0:
            return self._on_broken()
        self._queue.append((memoryview(data), tell))
        self._flush()

    def end(self):
        """Closes when all is written."""
        self._is_ending = True
        self._flush()

    def close(self):
        if self._fd >= 0:
            self._loop.forget(self._fd)
            os.close(self._fd)
            self._fd = -1
        self._queue.clear()

    def _flush(self, _events=0):
        if self._fd < 0:
            return
        taken = 0
        try:
            while self._queue:
                data, tell = self._queue[0]
                count = os.write(self._fd, data)
                taken += count if tell else 0
                if count == len(data):
                    self._queue.popleft()
                else:
                    self._queue[0] = (data[count:], tell)
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return self._on_broken()
        if taken:
            self._on_taken(taken)
        if self._queue:
            self._loop.watch(self._fd, select.EPOLLOUT, self._flush)
        elif self._is_ending:
            self.close()
        else:
            self._loop.forget(self._fd)
