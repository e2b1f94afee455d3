"""What keeps a site up among strangers: the PROXY header, limits of addresses, the access log in syslog."""

import os
import re
import socket
import struct
import time

import pytest
from harness import SLOW, wait_until
from origin import response
from test_site import FRESH, Site

V2 = b"\r\n\r\n\0\r\nQUIT\n"


@pytest.fixture
def proxied(tmp_path):
    """A site whose listener wants a PROXY header; the origin says whom it was told of."""
    made = []

    def make(trusted='"127.0.0.1"', **options):
        s = Site(tmp_path / str(len(made)), lambda request, _: response(request.headers["x-forwarded-for"],
                                                                       Cache_Control="no-store"),
                 top=f"trusted_proxies = [ {trusted} ]; {options.pop('top', '')}", start=False, **options)
        path = s.daemon.directory / "cachetastic.conf"
        path.write_text(path.read_text().replace(f':{s.daemon.port}"; protocol = "http";',
                                                 f':{s.daemon.port}"; protocol = "http"; proxy_protocol = true;'))
        s.daemon.start()
        made.append(s)
        return s

    yield make
    for s in made:
        s.__exit__()


REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def body(got):
    return got.partition(b"\r\n\r\n")[2]


def test_whom_a_connection_is_from(proxied):
    s = proxied()
    assert body(s.raw(b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n" + REQUEST)) == b"192.0.2.7"
    assert body(s.raw(b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 80\r\n" + REQUEST)) == b"2001:db8::7"
    assert body(s.raw(b"PROXY UNKNOWN\r\n" + REQUEST)) == b"127.0.0.1"
    four = V2 + b"\x21\x11" + struct.pack(">H4s4sHH", 12, bytes([192, 0, 2, 8]), bytes(4), 4711, 80)
    assert body(s.raw(four + REQUEST)) == b"192.0.2.8"
    six = V2 + b"\x21\x21" + struct.pack(">H16s16sHH", 40, socket.inet_pton(socket.AF_INET6, "2001:db8::9"), bytes(16),
                                         4711, 80) + b"\x04\0\1x"
    assert body(s.raw(six + REQUEST)) == b"2001:db8::9"
    assert body(s.raw(V2 + b"\x20\0\0\0" + REQUEST)) == b"127.0.0.1"


def test_it_may_come_in_pieces(proxied):
    s = proxied()
    with s.daemon.connect(s.daemon.port) as client:
        for byte in b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\nGET / HT":
            client.sendall(bytes([byte]))
            time.sleep(0.001)
        client.sendall(REQUEST[8:])
        got = b""
        while piece := client.recv(4096):
            got += piece
        assert body(got) == b"192.0.2.7"


def closed(s, data):
    try:
        return s.raw(data) == b""
    except ConnectionResetError:
        return True


def test_what_is_no_header_gets_no_answer(proxied):
    s = proxied()
    for bad in (REQUEST, b"PROXY TCP4 a b 1 2\r\n" + REQUEST, b"PROXY" + b"x" * 200, V2 + b"\x11\x11\0\0" + REQUEST,
                V2 + b"\x21\x11\xff\xff" + REQUEST):
        assert closed(s, bad), bad
    assert s.origin.requests == []


def test_only_trusted_proxies_may_say_so(proxied):
    s = proxied(trusted='"10.0.0.0/8"')
    assert closed(s, b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 80\r\n" + REQUEST)
    assert s.origin.requests == []


def test_a_header_that_does_not_end(proxied):
    s = proxied(top='limits = {{ header_timeout = "300ms"; }};')
    before = time.monotonic()
    assert closed(s, b"PROXY TCP4 192.0.2.7")
    assert time.monotonic() - before < 5 * SLOW


def test_a_client_of_a_proxy_is_none_of_this_machine(proxied):
    s = proxied(before='{{ path = "/v1/"; target = "admin"; }},')
    ask = b"GET /v1/stats HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert b" 403 " in s.raw(b"PROXY TCP4 127.0.0.1 127.0.0.1 4711 80\r\n" + ask).split(b"\r\n")[0]
    assert b" 200 " in s.raw(b"PROXY UNKNOWN\r\n" + ask).split(b"\r\n")[0]


def test_so_many_connections_of_an_address(tmp_path):
    with Site(tmp_path, lambda request, _: response("page", **FRESH),
              top="limits = {{ connections_per_address = 5; }};") as s:
        open_ = [s.daemon.connect(s.daemon.port) for _ in range(5)]
        for client in open_:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
        with s.daemon.connect(s.daemon.port) as one_more:
            got = one_more.recv(4096)
        assert got.startswith(b"HTTP/1.1 429 ") and b"limits.connections_per_address" in got
        assert s.daemon.client().ping()  # the unix socket is not counted
        for client in open_:
            client.close()
        wait_until(lambda: s.ask("/")[0] == 200, what="room again")


def test_so_fast(tmp_path):
    with Site(tmp_path, lambda request, _: response("page", **FRESH),
              top="limits = {{ connection_rate = 5; connection_burst = 10; }};") as s:
        statuses = [s.ask("/")[0] for _ in range(30)]
        assert statuses[:10] == [200] * 10
        assert statuses.count(429) >= 10
        time.sleep(1.1)
        assert s.ask("/")[0] == 200


def test_clients_behind_a_proxy_are_counted_each(proxied):
    s = proxied(top="limits = {{ connections_per_address = 2; }};")
    head = b"PROXY TCP4 192.0.2.%d 198.51.100.1 4711 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"
    open_ = []
    for client in (1, 1, 2, 2, 3):
        open_.append(s.daemon.connect(s.daemon.port))
        open_[-1].sendall(head % client)
        assert open_[-1].recv(4096).startswith(b"HTTP/1.1 200 ")
    assert closed(s, head % 1)
    for client in open_:
        client.close()


def test_the_access_log_in_syslog(tmp_path):
    path = tmp_path / "log.sock"

    def listen():
        log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        log.bind(str(path))
        log.settimeout(10 * SLOW)
        return log

    log = listen()
    with Site(tmp_path / "site", lambda request, _: response("page", **FRESH),
              top=f'access_log = "syslog:{path}"; access_log_format = "$method $target $status $cache";') as s:
        s.ask("/a")
        s.ask("/b")
        line = log.recv(4096).decode()
        assert re.fullmatch(r"<30>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d cachetastic\[\d+\]: GET /a 200 "
                            r"fwd=uri-miss; fwd-status=200; stored", line), line
        assert "GET /b" in log.recv(4096).decode()
        # The system's log is started anew: a line or two may be lost, and no request.
        log.close()
        os.unlink(path)
        assert s.ask("/lost")[0] == 200
        wait_until(lambda: "takes nothing more" in s.daemon.log.read_text(), what="the loss being said")
        log = listen()
        for _ in range(3):
            s.ask("/c")
            time.sleep(1.1)
        assert "GET /" in log.recv(4096).decode()
        assert "goes on" in s.daemon.log.read_text()
    log.close()


def test_syslog_may_come_later(tmp_path):
    path = tmp_path / "log.sock"
    with Site(tmp_path / "site", lambda request, _: response("page", **FRESH),
              top=f'access_log = "syslog:{path}";') as s:
        assert s.ask("/a")[0] == 200
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
            log.bind(str(path))
            log.settimeout(10 * SLOW)
            s.ask("/b")
            assert b"GET /" in log.recv(4096)
