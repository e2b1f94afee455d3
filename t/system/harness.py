"""What the system tests share: real daemons, real Redis servers, started on free ports and sockets in a
temporary directory and ended by pid."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import redis

TREE = Path(__file__).resolve().parents[2]
ROOT = Path(os.environ.get("CACHETASTIC_ROOT", TREE / "build" / "root")).resolve()
DAEMON = ROOT / "sbin" / "cachetastic"
CTL = ROOT / "bin" / "cachetasticctl"
# A sanitizer build is slower; waits scale, what is asserted does not.
SLOW = float(os.environ.get("CACHETASTIC_SLOW", "1"))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until(condition, seconds=10.0, what="the condition"):
    """Poll until condition() is true; returns its value. Fails by name after the time."""
    deadline = time.monotonic() + seconds * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {seconds * SLOW:g} s")
        time.sleep(0.01)


def end(process, how=signal.SIGTERM, seconds=10.0):
    """End a process by pid; returns its status."""
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(seconds * SLOW)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"pid {process.pid} did not end within {seconds * SLOW:g} s of {how!r}")
    return process.returncode


def children_of(pid):
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


class Daemon:
    """One cachetastic. config: the text of a configuration file (then flags give nothing), or None: flags."""

    def __init__(self, directory, *flags, config=None, start=True):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.socket = self.directory / "c.sock"
        self.port = free_port()
        self.log = self.directory / "daemon.log"
        self.process = None
        if config is not None:
            path = self.directory / "cachetastic.conf"
            path.write_text(config.format(socket=self.socket, port=self.port, directory=self.directory))
            self.argv = [str(DAEMON), "-c", str(path), *flags]
        else:
            self.argv = [str(DAEMON), "--socket", str(self.socket), "--http", f"127.0.0.1:{self.port}", *flags]
        if start:
            self.start()

    def start(self):
        self.process = subprocess.Popen(self.argv, cwd=self.directory, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=open(self.log, "ab"))
        try:
            wait_until(self.serves, 15, "every worker serving")
        except AssertionError:
            raise AssertionError(f"the daemon did not start:\n{self.log.read_text()}")
        return self

    def answers(self):
        try:
            return self.client().ping()
        except (redis.exceptions.RedisError, OSError):
            return False

    def serves(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the daemon ended with {self.process.returncode}:\n{self.log.read_text()}")
        try:
            return all(worker["state"] == "serving" for worker in self.stats()["workers"])
        except (redis.exceptions.RedisError, OSError):
            return False

    def client(self, **options):
        return redis.Redis(unix_socket_path=str(self.socket), **options)

    def cache(self, name, **options):
        """A client of a named cache: one connection that has chosen it."""
        client = self.client(single_connection_client=True, **options)
        client.execute_command("CACHETASTIC.USE", name)
        return client

    def stats(self):
        return json.loads(self.client().execute_command("CACHETASTIC.STATS"))

    def worker_pids(self):
        return [w["pid"] for w in self.stats()["workers"]]

    def children(self):
        """The pids of the master's children, from the kernel: whatever state they are in."""
        return children_of(self.process.pid)

    def connect(self, port=None):
        """A plain socket to the daemon: its unix socket, or a TCP port of 127.0.0.1."""
        if port is not None:
            return socket.create_connection(("127.0.0.1", port), timeout=30 * SLOW)
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(30 * SLOW)
        s.connect(str(self.socket))
        return s

    def check(self, cache="default"):
        """The validator on the live zone; fails the test on any problem."""
        report = json.loads(self.cache(cache).execute_command("CACHETASTIC.CHECK"))
        assert report["problems"] == 0, report
        return report

    def http(self, method, path, body=None, headers=None):
        """Status, headers, body; an HTTP error is an answer like any other."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=body, method=method,
                                         headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=10 * SLOW) as response:
                return response.status, response.headers, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def ctl(self, *args, stdin=None):
        return subprocess.run([str(CTL), "-s", str(self.socket), *args], input=stdin, capture_output=True,
                              timeout=30 * SLOW)

    def stop(self):
        status = end(self.process)
        assert status == 0, f"status {status}:\n{self.log.read_text()}"
        text = self.log.read_text(errors="replace")
        assert "Sanitizer" not in text and "runtime error:" not in text, text


class RedisServer:
    """A real redis-server on a free port of 127.0.0.1."""

    def __init__(self, directory, *options):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.options = options
        self.process = None
        self.start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir",
             str(self.directory), *self.options],
            stdin=subprocess.DEVNULL, stdout=open(self.directory / "redis.log", "ab"), stderr=subprocess.STDOUT)
        wait_until(self.answers, 10, "redis-server answering PING")

    def answers(self):
        try:
            return self.client().ping()
        except (redis.exceptions.RedisError, OSError):
            return False

    def client(self, **options):
        return redis.Redis(port=self.port, **options)

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None and how == signal.SIGTERM:
            self.process.send_signal(signal.SIGCONT)
        end(self.process, how)
