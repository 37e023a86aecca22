"""Carries TCP connections on the sandbox's loopback to the egress proxy's Unix socket.

pip and most programs know a proxy only as host and port. One thread, bounded buffers; an end of one direction is passed
on as such, so that a client which is done with writing can still read.
"""
import selectors
import socket

BUFFER_BYTES = 64 * 1024
MAX_CONNECTIONS = 256


class Direction:
    def __init__(self, source, sink):
        self.source = source
        self.sink = sink
        self.waiting = bytearray()
        self.source_ended = False

    def read(self):
        chunk = self.source.recv(BUFFER_BYTES - len(self.waiting))
        self.waiting += chunk
        if not chunk:
            self.source_ended = True
            self.pass_on_end()

    def write(self):
        del self.waiting[: self.sink.send(self.waiting)]
        self.pass_on_end()

    def pass_on_end(self):
        if self.finished():
            self.sink.shutdown(socket.SHUT_WR)

    def finished(self):
        return self.source_ended and not self.waiting

    def wants_read(self):
        return not self.source_ended and len(self.waiting) < BUFFER_BYTES


class Connection:
    def __init__(self, selector, client, proxy):
        self.selector = selector
        self.ends = (client, proxy)
        self.directions = (Direction(client, proxy), Direction(proxy, client))
        self.watch()

    def watch(self):
        """Asks only for what can be dealt with, so that a slow end slows the other one down."""
        for end in self.ends:
            events = 0
            for direction in self.directions:
                if direction.source is end and direction.wants_read():
                    events |= selectors.EVENT_READ
                if direction.sink is end and direction.waiting:
                    events |= selectors.EVENT_WRITE
            registered = self.selector.get_map().get(end)
            if registered is None and events:
                self.selector.register(end, events, self)
            elif registered is not None and not events:
                self.selector.unregister(end)
            elif registered is not None and registered.events != events:
                self.selector.modify(end, events, self)

    def on_ready(self, end, events):
        """Returns whether the connection goes on."""
        try:
            for direction in self.directions:
                if direction.source is end and events & selectors.EVENT_READ and direction.wants_read():
                    direction.read()
                if direction.sink is end and events & selectors.EVENT_WRITE and direction.waiting:
                    direction.write()
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return False
        if all(direction.finished() for direction in self.directions):
            self.close()
            return False
        self.watch()
        return True

    def close(self):
        for end in self.ends:
            if end in self.selector.get_map():
                self.selector.unregister(end)
            end.close()


def connect(unix_path):
    proxy = socket.socket(socket.AF_UNIX)
    proxy.setblocking(False)
    try:
        proxy.connect(unix_path)
    except OSError:
        proxy.close()
        raise
    return proxy


def accept(selector, listener, unix_path):
    client, _ = listener.accept()
    client.setblocking(False)
    try:
        return Connection(selector, client, connect(unix_path))
    except OSError:
        client.close()
        return None


def serve(listen_port, unix_path, on_listening=lambda: None):
    """Never returns."""
    selector = selectors.DefaultSelector()
    listener = socket.create_server(("127.0.0.1", listen_port), backlog=MAX_CONNECTIONS)
    listener.setblocking(False)
    on_listening()
    selector.register(listener, selectors.EVENT_READ)
    connections = set()
    while True:
        for key, events in selector.select():
            connection = key.data
            if connection is None:
                try:
                    connection = accept(selector, listener, unix_path)
                except OSError:
                    continue
                if connection is not None:
                    connections.add(connection)
            elif connection in connections and not connection.on_ready(key.fileobj, events):
                connections.discard(connection)
        # Above the limit new ones wait in the backlog until an old one ends.
        is_listening = listener in selector.get_map()
        if len(connections) >= MAX_CONNECTIONS and is_listening:
            selector.unregister(listener)
        elif len(connections) < MAX_CONNECTIONS and not is_listening:
            selector.register(listener, selectors.EVENT_READ)
