"""A real memcached to compare with, and our daemon as its clients meet it: in memory alone, or with Redis behind."""

import socket
import subprocess

from harness import SLOW, Daemon, RedisServer, end, wait_until

CONFIG = """
listen = ( {{ address = "unix:{socket}"; }}, {{ address = "127.0.0.1:{port}"; }} );
caches = ( {{ name = "default"; memory = "32M"; }} );
workers = 2;
"""


def serving(tmp_path, mode, more=""):
    """A daemon in one of the modes, checked and stopped at the end; for fixtures."""
    redis = RedisServer(tmp_path / "redis") if mode == "layered" else None
    behind = 'redis = {{ server = "%s"; }};\n' % redis.address if redis else ""
    daemon = Daemon(tmp_path / "d", config=CONFIG + behind + more)
    daemon.mode = mode
    yield daemon
    daemon.check()
    daemon.stop()
    if redis:
        redis.stop()


def guarded(tmp_path, users):
    """A daemon that wants its clients to log in."""
    daemon = Daemon(tmp_path / "d", config=CONFIG + users, start=False)
    daemon.process = subprocess.Popen(daemon.argv, stdout=subprocess.DEVNULL, stderr=open(daemon.log, "ab"))

    def connected():
        try:
            return daemon.connect()
        except OSError:
            return None

    wait_until(connected, 15, what="the daemon").close()
    yield daemon
    daemon.stop()


class Memcached:
    """A real memcached on a unix socket."""

    def __init__(self, directory):
        self.socket = directory / "memcached.sock"
        self.process = subprocess.Popen(["memcached", "-u", "root", "-s", str(self.socket), "-t", "1"])
        wait_until(lambda: self.socket.exists(), what="memcached's socket")

    def connect(self):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(30 * SLOW)
        s.connect(str(self.socket))
        return s

    def stop(self):
        end(self.process)


def exchange(s, text):
    """What is answered, up to the answer to a mark that ends it."""
    s.sendall(text + b"mark\r\nmn\r\n")
    reply = b""
    ends = (b"ERROR\r\nMN\r\n", b"ERROR\r\nCLIENT_ERROR unauthenticated\r\n")
    while not reply.endswith(ends):
        part = s.recv(65536)
        if not part:
            return reply + b"(closed)"
        reply += part
    return reply[:reply.rindex(b"ERROR\r\n", 0, -4)] if reply.endswith(b"MN\r\n") else \
        reply[:-len(ends[1])]
