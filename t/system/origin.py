"""An origin server for the tests of the HTTP caching tier: answers what the test says, and remembers what it
was asked."""

import socket
import threading
import time


class Origin:
    """answer(request, connection): called in the connection's thread with the parsed request; returns the
    bytes of the response, or None after having sent something itself (then the connection is closed)."""

    def __init__(self, answer, port=0, path=None, tls=None):
        """port: of 127.0.0.1; path: of a unix socket instead; tls: an ssl.SSLContext."""
        self.answer = answer
        self.requests = []
        self.lock = threading.Lock()
        self.open = []
        self.tls = tls
        self.accepted = 0
        if path is None:
            self.listener = socket.socket()
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind(("127.0.0.1", port))
            self.port = self.listener.getsockname()[1]
            self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        else:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(str(path))
            self.url = f"unix:{path}"
        self.listener.listen(1024)
        self.running = True
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while self.running:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            self.open.append(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        try:
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            file = connection.makefile("rb")
            while self.running:
                request = read_request(file)
                if request is None:
                    break
                with self.lock:
                    self.requests.append(request)
                response = self.answer(request, connection)
                if response is None:
                    break
                connection.sendall(response)
        except (OSError, ValueError):
            pass
        finally:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            connection.close()

    def stop(self):
        """As if the process was killed: nothing listens, and what was open is gone."""
        self.running = False
        try:
            self.listener.shutdown(socket.SHUT_RDWR)  # closing alone does not end accept()
        except OSError:
            pass
        self.listener.close()
        for connection in self.open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def paths(self):
        with self.lock:
            return [request.path for request in self.requests]


class Request:
    def __init__(self, method, path, headers, body):
        self.method, self.path, self.headers, self.body = method, path, headers, body
        self.at = time.monotonic()


def read_request(file):
    line = file.readline()
    if not line.strip():
        return None
    method, path, _ = line.decode("latin-1").split()
    headers = {}
    while True:
        line = file.readline()
        if line in (b"\r\n", b""):
            break
        name, _, value = line.decode("latin-1").partition(":")
        name = name.lower()
        headers[name] = headers[name] + ", " + value.strip() if name in headers else value.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while True:
            size = int(file.readline(), 16)
            piece = file.read(size + 2)[:-2]
            if size == 0:
                break
            body += piece
    else:
        body = file.read(int(headers.get("content-length", "0")))
    return Request(method, path, headers, body)


def response(body=b"", status="200 OK", **headers):
    """A response; headers' underscores are dashes."""
    if isinstance(body, str):
        body = body.encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body
