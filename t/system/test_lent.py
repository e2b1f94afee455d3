"""Large values are sent from shared memory as they lie there, whatever happens to them meanwhile."""

import os
import signal
import socket

from harness import SLOW, wait_until
from origin import response
from test_site import Site

MIB = 1 << 20


def pattern(letter, size=3 * MIB):
    return (letter * 1021).encode()[: 1021] * (size // 1021) + b"end"


def figures(daemon, cache="default"):
    return daemon.stats()["caches"][cache]


def read_exactly(s, n):
    got = bytearray()
    while len(got) < n:
        piece = s.recv(min(n - len(got), MIB))
        assert piece, f"ended after {len(got)} of {n} bytes"
        got += piece
    return bytes(got)


def get(key):
    return b"*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n" % (len(key), key.encode())


def bulk(value):
    return b"$%d\r\n%s\r\n" % (len(value), value)


def test_between_small_replies(daemon):
    value = pattern("a")
    with daemon.client() as client:
        client.set("large", value)
        client.set("small", b"s")
    before = figures(daemon)["lent"]
    with daemon.connect() as s:
        s.settimeout(30 * SLOW)
        s.sendall((get("small") + get("large") + get("small") + get("large") + b"*1\r\n$4\r\nPING\r\n") * 3)
        one = bulk(b"s") + bulk(value) + bulk(b"s") + bulk(value) + b"+PONG\r\n"
        assert read_exactly(s, 3 * len(one)) == 3 * one
    assert figures(daemon)["lent"] > before
    wait_until(lambda: figures(daemon)["memory"]["pinned_bytes"] == 0, what="the pins to be gone")


def slow_reader(daemon, command, first):
    """Has sent a command and read the first bytes of its answer; what is left is on its way or lent."""
    s = daemon.connect()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    s.settimeout(30 * SLOW)
    s.sendall(command)
    read_exactly(s, first)
    return s


def churn(client, rounds=40):
    for i in range(rounds):
        client.set(f"other{i}", pattern("xyz"[i % 3]))


def test_what_happens_to_the_key_meanwhile(daemon):
    value = pattern("b")
    whole = bulk(value)
    for act in (lambda c: c.delete("large"), lambda c: c.set("large", pattern("c")),
                lambda c: c.flushdb(), lambda c: c.execute_command("CACHETASTIC.PURGE", "PATTERN", "l*")):
        with daemon.client() as client:
            client.set("large", value)
            with slow_reader(daemon, get("large"), 1000) as s:
                assert figures(daemon)["memory"]["pinned_bytes"] >= len(value)
                act(client)
                churn(client)  # more than the zone holds: whatever is free is used again
                assert read_exactly(s, len(whole) - 1000) == whole[1000:]
    wait_until(lambda: figures(daemon)["memory"]["pinned_bytes"] == 0, what="the pins to be gone")


def test_who_does_not_read_pins_for_seconds_only(daemon):
    value = pattern("d")
    whole = bulk(value)
    with daemon.client() as client:
        client.set("large", value)
        with slow_reader(daemon, get("large"), 1000) as s:
            assert figures(daemon)["memory"]["pinned_bytes"] >= len(value)
            wait_until(lambda: figures(daemon)["memory"]["pinned_bytes"] == 0, 20 * SLOW, "the pin to be given up")
            churn(client)
            assert read_exactly(s, len(whole) - 1000) == whole[1000:]


def test_a_client_that_goes_away(daemon):
    with daemon.client() as client:
        client.set("large", pattern("e"))
    slow_reader(daemon, get("large"), 1000).close()
    wait_until(lambda: figures(daemon)["memory"]["pinned_bytes"] == 0, what="the pin to be gone")


def test_a_worker_that_dies(daemons):
    daemon = daemons("--workers", "1", "--memory", "32M")
    with daemon.client() as client:
        client.set("large", pattern("f"))
    with slow_reader(daemon, get("large"), 1000):
        os.kill(daemon.stats()["workers"][0]["pid"], signal.SIGKILL)
        wait_until(lambda: daemon.stats()["workers"][0]["restarts"] == 1, what="the worker to be replaced")
        assert figures(daemon)["memory"]["pinned_bytes"] == 0
    with daemon.client() as client:
        assert client.get("large") == pattern("f")


def test_pages_of_a_site(tmp_path):
    body = bytes(range(256)) * (12 * 1024)  # 3 MiB
    with Site(tmp_path, lambda request, connection: response(body, Cache_Control="max-age=600", ETag='"v"')) as site:
        assert site.ask("/p")[2] == body
        before = figures(site.daemon, "http")["lent"]
        assert site.ask("/p")[2] == body
        status, _, part = site.ask("/p", headers={"Range": "bytes=1000000-2500000"})
        assert (status, part) == (206, body[1000000:2500001])
        assert figures(site.daemon, "http")["lent"] >= before + 2
        assert site.ask("/p", headers={"If-None-Match": '"v"'})[0] == 304
        assert site.ask("/p", headers={"Range": "bytes=9999999-"})[0] == 416
        status, headers, nothing = site.ask("/p", method="HEAD")
        assert (status, headers["Content-Length"], nothing) == (200, str(len(body)), b"")
        wait_until(lambda: figures(site.daemon, "http")["memory"]["pinned_bytes"] == 0, what="the pins to be gone")
