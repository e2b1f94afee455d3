"""Filling a server through its unix socket, many commands a round trip."""

import socket


class Connection:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.input = self.socket.makefile("rb")

    def line(self):
        line = self.input.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionResetError("the server closed the connection")
        return line[:-2]


class Resp(Connection):
    def store_many(self, keys, value):
        tail = b"\r\n$%d\r\n%b\r\n" % (len(value), value)
        self.socket.sendall(b"".join(b"*3\r\n$3\r\nSET\r\n$%d\r\n%b%b" % (len(key), key, tail) for key in keys))
        for key in keys:
            answer = self.line()
            if answer != b"+OK":
                raise AssertionError(f"SET {key!r} answered {answer!r}")

    def entries(self):
        self.socket.sendall(b"DBSIZE\r\n")
        return int(self.line()[1:])

    def info(self, section, name):
        self.socket.sendall(b"INFO %b\r\n" % section.encode())
        text = self.input.read(int(self.line()[1:]) + 2)
        return int(dict(line.split(b":", 1) for line in text.split(b"\r\n") if b":" in line)[name.encode()])


class Memcached(Connection):
    def store_many(self, keys, value):
        tail = b" 0 0 %d\r\n%b\r\n" % (len(value), value)
        self.socket.sendall(b"".join(b"set %b%b" % (key, tail) for key in keys))
        for key in keys:
            answer = self.line()
            # When all its items are in use at the moment it refuses, now and then, one that would fit.
            if answer not in (b"STORED", b"SERVER_ERROR out of memory storing object"):
                raise AssertionError(f"set {key!r} answered {answer!r}")

    def stat(self, name, group=""):
        self.socket.sendall(f"stats {group}\r\n".encode() if group else b"stats\r\n")
        value = None
        while True:
            words = self.line().split()
            if words == [b"END"]:
                return value
            if words[1] == name.encode():
                value = int(words[2])
