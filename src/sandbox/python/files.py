"""The file helper: a confined child of the agent that does what the file tools ask. Messages on both pipes are
`u32be length | u8 kind | u32be operation | payload`, at most 1 MiB. In: `R` request (JSON), `D` piece of a body, `E` its
end, `C` cancel. Out: `B` piece of a body, `L` listing entries (JSON), `P` bytes written so far, `X` result (JSON),
`!` refusal (JSON). Operations run in a few threads, so a long one holds up no other."""
import json
import os
import queue
import struct
import sys
import threading

# The modules beside this one; the helper runs none of the session's code, so nobody else meets them.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from file_operations import OPERATIONS
from paths import Refused

MAX_MESSAGE_BYTES = 1_048_576
WORKERS = 6

class Cancelled(Exception):
    pass


class Operation:
    def __init__(self, number, request, send):
        self.request = request
        self.body = queue.SimpleQueue()
        self.cancelled = False
        self._unclaimed = threading.Semaphore(1)
        self._number = number
        self._send = send

    def claim(self):
        """True for the first who asks: the thread that does it, or who ends it before one comes."""
        return self._unclaimed.acquire(blocking=False)

    def send(self, kind, payload):
        self._send(kind, self._number, payload)

    def answer(self, kind, value):
        self.send(kind, json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))

    def check(self):
        if self.cancelled:
            raise Cancelled

    def pieces(self):
        """The body of a write, as it comes in."""
        while True:
            piece = self.body.get()
            self.check()
            if piece is None:
                return
            yield piece


def serve(read_fd, write_fd, root="/workspace"):
    """Works until the service closes the pipe."""
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    sending = threading.Lock()
    waiting = queue.SimpleQueue()
    operations = {}
    workers = []

    def send(kind, number, payload):
        message = struct.pack(">IBI", len(payload) + 5, ord(kind), number) + payload
        with sending:
            _write_all(write_fd, message)

    def work():
        while True:
            number, operation = waiting.get()
            try:
                if operation.claim():
                    _perform(root_fd, operation)
            finally:
                operations.pop(number, None)

    while True:
        # Under a fork bomb no further thread can be had; the first one is there from the start.
        if len(workers) < WORKERS and len(operations) >= len(workers):
            worker = threading.Thread(target=work, daemon=True)
            try:
                worker.start()
                workers.append(worker)
            except RuntimeError:
                if not workers:
                    raise
        head = _read_exactly(read_fd, 4)
        if head is None:
            return
        length = int.from_bytes(head, "big")
        message = _read_exactly(read_fd, length) if 5 <= length <= MAX_MESSAGE_BYTES else None
        if message is None:
            return
        kind, number, payload = chr(message[0]), int.from_bytes(message[1:5], "big"), message[5:]
        operation = operations.get(number)
        if kind == "R":
            operations[number] = Operation(number, json.loads(payload), send)
            waiting.put((number, operations[number]))
        elif operation and kind == "D":
            operation.body.put(payload)
        elif operation:
            operation.cancelled = operation.cancelled or kind == "C"
            operation.body.put(None)
            if kind == "C" and operation.claim():
                # It waited for a thread, and need not wait for one to be told.
                operations.pop(number, None)
                operation.answer("!", {"code": "CANCELLED"})


def _perform(root, operation):
    try:
        operation.check()
        operation.answer("X", OPERATIONS[operation.request["op"]](root, operation, operation.request))
    except Refused as refused:
        operation.answer("!", {"code": refused.code, **refused.facts})
    except Cancelled:
        operation.answer("!", {"code": "CANCELLED"})
    except OSError as error:
        refused = Refused.of(error)
        operation.answer("!", {"code": refused.code, **refused.facts})
    except Exception as error:  # A worker outlives whatever one request brings.
        operation.answer("!", {"code": "FILE_ERROR", "detail": f"{type(error).__name__}: {error}"[:500]})


def _read_exactly(fd, length):
    """None at the end of the pipe."""
    data = bytearray()
    while len(data) < length:
        piece = os.read(fd, length - len(data))
        if not piece:
            return None
        data += piece
    return bytes(data)


def _write_all(fd, data):
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
