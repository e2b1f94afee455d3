"""A TCP proxy between a daemon and its Redis, to be slow, deaf, or late at will."""

import socket
import threading
import time


class Proxy:
    """Forwards until told otherwise; each attribute may be changed at any time.

    delay          seconds that every answer is held back
    hold_request   bytes: a connection on which they are sent goes no further (and its other side stays open when the
                   daemon closes it), until release()
    hold_reply     bytes: likewise for what the server answers
    cut_reply      bytes: the connection is cut in the middle of the answer that holds them, once
    """

    def __init__(self, port):
        self.port_behind = port
        self.delay = 0.0
        self.hold_request = self.hold_reply = self.cut_reply = None
        self.held = threading.Event()
        self.released = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.sockets = []
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.port_behind), timeout=30)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            self.sockets += [near, far]
            threading.Thread(target=self.requests, args=(near, far), daemon=True).start()
            threading.Thread(target=self.replies, args=(far, near), daemon=True).start()

    def wait(self):
        self.held.set()
        self.released.wait()

    def requests(self, near, far):
        self.pump(near, far, lambda data: self.hold_request is not None and self.hold_request in data)

    def replies(self, far, near):
        self.pump(far, near, lambda data: self.hold_reply is not None and self.hold_reply in data, True)

    def pump(self, source, sink, holds, reply=False):
        try:
            while data := source.recv(65536):
                if holds(data) and not self.released.is_set():
                    self.wait()
                if reply and self.cut_reply is not None and self.cut_reply in data:
                    at = data.index(self.cut_reply) + len(self.cut_reply) // 2
                    self.cut_reply = None
                    sink.sendall(data[:at])
                    break
                if reply and self.delay:
                    time.sleep(self.delay)
                sink.sendall(data)
        except OSError:
            pass
        for s in (source, sink):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def release(self):
        """What was held goes on; nothing more is held until hold()."""
        self.released.set()

    def hold(self, request=None, reply=None):
        self.held.clear()
        self.released.clear()
        self.hold_request, self.hold_reply = request, reply

    def close(self):
        self.released.set()
        self.listener.close()
        for s in self.sockets:
            s.close()
