"""Many processes fetch one missing key at once, and the first to compute it is killed in the middle.

    fetch_storm.py [--rounds 100] [--processes 200]

Each round has a key of its own, whose computation takes 200 ms. Required, every round: of all processes one is
granted the lease and killed; then exactly one more computes, its fill is accepted, and everybody else gets its value.
"""

import argparse
import os
import selectors
import signal
import socket
import sys
import tempfile
import time

from harness import SLOW, Daemon

COMPUTE_S = 0.2
WAIT_MS = int(min(30000 * SLOW, 60000))  # limits.fetch_wait


def encode(*args):
    """One command as bytes."""
    words = [str(arg).encode() for arg in args]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


def command(stream, *args):
    """Send one command on a plain socket's file; returns its reply."""
    stream.write(encode(*args))
    stream.flush()
    return reply(stream)


def reply(stream):
    line = stream.readline()
    if not line:
        raise EOFError("the daemon closed the connection")
    kind, rest = line[:1], line[1:-2]
    if kind == b"$":
        return None if rest == b"-1" else stream.read(int(rest) + 2)[:-2]
    if kind in (b"*", b">"):
        return [reply(stream) for _ in range(int(rest))]
    if kind == b"%":
        return [reply(stream) for _ in range(2 * int(rest))]
    if kind == b"_":
        return None
    if kind == b"-":
        raise AssertionError(rest.decode())
    return int(rest) if kind == b":" else rest


def child(path, orders):
    """Fetch the key that each order names; tell what came of it: "computing", then "filled VALUE" or "got VALUE"."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    stream = connection.makefile("rwb")
    command(stream, "PING")
    orders.send(b"ready\n")
    while key := orders.recv(200):
        state, value, token, _ = command(stream, "CACHETASTIC.FETCH", key.decode(), "WAIT", WAIT_MS, "LEASE", WAIT_MS)
        if token is None:
            orders.send(b"%s %s\n" % (state.lower(), value if value is not None else b"-"))
            continue
        orders.send(b"computing\n")
        time.sleep(COMPUTE_S)
        value = b"%s:%d" % (key, os.getpid())
        stored = command(stream, "CACHETASTIC.FILL", key.decode(), token.decode(), value.decode())
        orders.send(b"%s %s\n" % (b"filled" if stored == 1 else b"rejected", value))


class Process:
    def __init__(self, path):
        self.orders, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.orders.close()
                child(path, theirs)
            finally:
                os._exit(0)
        theirs.close()
        self.buffer = b""
        self.expect(b"ready")

    def expect(self, word):
        line = self.orders.recv(200)
        assert line == word + b"\n", line

    def lines(self):
        """What it says now; b"" when it has ended."""
        data = self.orders.recv(4096)
        if not data:
            return [b""]
        *lines, self.buffer = (self.buffer + data).split(b"\n")
        return lines

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)

    def close(self):
        # Not by closing the socket alone: processes that were forked later have it too.
        self.orders.close()
        self.kill()
        os.waitpid(self.pid, 0)


def run_round(processes, key):
    """One round: everyone is told the key at once. Returns the pid that was killed and the lines of the others."""
    said, killed, computing = {}, None, []
    waiting = selectors.DefaultSelector()
    for process in processes:
        waiting.register(process.orders, selectors.EVENT_READ, process)
    for process in processes:
        process.orders.send(key.encode())
    deadline = time.monotonic() + 40 * SLOW
    while len(said) < len(processes) - 1:
        assert time.monotonic() < deadline, f"{key}: {len(said)} of {len(processes)} answered"
        for ready, _ in waiting.select(1):
            for line in ready.data.lines():
                if line == b"computing":
                    computing.append(ready.data.pid)
                    if killed is None:
                        killed = ready.data
                        killed.kill()
                elif line == b"":
                    waiting.unregister(ready.fileobj)
                    assert ready.data is killed, f"{key}: process {ready.data.pid} ended"
                else:
                    said[ready.data.pid] = line
    waiting.close()
    return killed, computing, said


def judge(key, killed, computing, said):
    filled = [line for line in said.values() if line.startswith(b"filled ")]
    assert len(computing) == 2 and computing[0] == killed.pid, f"{key}: {len(computing)} computed, not one killed and one"
    assert len(filled) == 1, f"{key}: {len(filled)} fills were accepted"
    value = filled[0].split(b" ")[1]
    wrong = [line for pid, line in said.items() if line != b"hit " + value and pid != computing[1]]
    assert not wrong, f"{key}: {len(wrong)} did not get the value, such as {wrong[0]!r}"


def storm(path, rounds, count, tell=lambda text: None):
    processes = [Process(path) for _ in range(count)]
    try:
        for number in range(rounds):
            key = f"storm:{number}"
            killed, computing, said = run_round(processes, key)
            judge(key, killed, computing, said)
            processes.remove(killed)
            killed.close()
            processes.append(Process(path))
            tell(f"\rround {number + 1} of {rounds}")
    finally:
        for process in processes:
            process.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--processes", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        daemon = Daemon(directory, "--workers", "2", "--memory", "32M")
        began = time.monotonic()
        try:
            storm(str(daemon.socket), options.rounds, options.processes, lambda text: print(text, end="", flush=True))
            print(f"\n{options.processes} processes, {options.rounds} rounds, 2 workers: in each, one lease owner killed, "
                  f"one computation, every other process got its value; {time.monotonic() - began:.1f} s")
        finally:
            daemon.stop()


if __name__ == "__main__":
    sys.exit(main())
