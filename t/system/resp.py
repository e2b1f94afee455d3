"""A connection that shows a reply's RESP2 or RESP3 form as it is: dict for a map, set for a set, float for a double."""


class ReplyError(Exception):
    def __eq__(self, other):
        return isinstance(other, ReplyError) and str(self) == str(other)

    __hash__ = Exception.__hash__


class Connection:
    def __init__(self, sock):
        self.sock = sock
        self.file = sock.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.file.close()
        self.sock.close()

    def send(self, *words):
        out = [b"*%d\r\n" % len(words)]
        for word in words:
            word = word if isinstance(word, bytes) else str(word).encode()
            out.append(b"$%d\r\n%s\r\n" % (len(word), word))
        self.sock.sendall(b"".join(out))

    def line(self):
        return self.file.readline().rstrip(b"\r\n")

    def read(self):
        """One reply. Errors inside an array are values."""
        line = self.line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b"-":
            return ReplyError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b",":
            return float(rest)
        if kind == b"_" or rest == b"-1":
            return None
        if kind == b"$":
            value = self.file.read(int(rest) + 2)[:-2]
            assert len(value) == int(rest)
            return value
        if kind == b"%":
            return {self.read(): self.read() for _ in range(int(rest))}
        if kind == b"~":
            return set(self.read() for _ in range(int(rest)))
        assert kind in (b"*", b">"), line
        return [self.read() for _ in range(int(rest))]

    def call(self, *words):
        self.send(*words)
        reply = self.read()
        if isinstance(reply, ReplyError):
            raise reply
        return reply
