"""The HTTP caching tier: a real daemon in front of an origin that does as the test says."""

import http.client
import os
import selectors
import signal
import socket
import subprocess
import threading
import time

import pytest
from harness import DAEMON, SLOW, Daemon, free_port, wait_until
from origin import Origin, response

FRESH = {"Cache_Control": "max-age=600"}


class Site:
    """A daemon with one route to an origin."""

    def __init__(self, directory, answer, workers=1, route="", top="", before="", origins=None, **options):
        self.origin = Origin(answer)
        servers = ", ".join(f'"{url}"' for url in origins or [self.origin.url])
        self.admin = free_port()
        config = (f'workers = {workers}; {top}\n'
                  'listen = ( {{ address = "unix:{socket}"; }},\n'
                  '  {{ address = "127.0.0.1:{port}"; protocol = "http"; }},\n'
                  f'  {{{{ address = "127.0.0.1:{self.admin}"; protocol = "http"; admin = true; }}}} );\n'
                  'caches = ( {{ name = "http"; memory = "64M"; backend = "memory"; }} );\n'
                  f'routes = ( {before} {{{{ origin = [ {servers} ]; {route} }}}} );\n')
        self.daemon = Daemon(directory, config=config, **options)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.daemon.stop()
        self.origin.stop()

    def ask(self, path="/", method="GET", body=None, headers=None, port=None):
        """Status, headers, body over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.daemon.port, timeout=30 * SLOW)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            reply = connection.getresponse()
            return reply.status, reply.headers, reply.read()
        finally:
            connection.close()

    def raw(self, data, shut=False):
        """Everything that the daemon answers to these bytes."""
        with self.daemon.connect(self.daemon.port) as s:
            s.sendall(data)
            if shut:
                s.shutdown(socket.SHUT_WR)
            got = b""
            while True:
                piece = s.recv(65536)
                if not piece:
                    return got
                got += piece


@pytest.fixture
def site(tmp_path):
    made = []

    def make(answer, **options):
        made.append(Site(tmp_path / str(len(made)), answer, **options))
        return made[-1]

    yield make
    for each in made:
        each.__exit__()


def test_a_page_is_asked_for_once(site):
    s = site(lambda request, _: response("hello", ETag='"x"', **FRESH))
    status, headers, body = s.ask("/page?a=1")
    assert (status, body) == (200, b"hello")
    assert headers["Cache-Status"] == "cachetastic; fwd=uri-miss; fwd-status=200; stored"
    assert headers["Via"] == "1.1 cachetastic"
    status, headers, body = s.ask("/page?a=1")
    assert (status, body, headers["ETag"]) == (200, b"hello", '"x"')
    assert headers["Cache-Status"].startswith("cachetastic; hit; ttl=")
    assert int(headers["Age"]) >= 0
    status, headers, body = s.ask("/page?a=1", "HEAD")
    assert (status, body, headers["Content-Length"]) == (200, b"", "5")
    assert s.ask("/page?a=1", headers={"If-None-Match": 'W/"x"'})[0] == 304
    status, headers, body = s.ask("/page?a=1", headers={"Range": "bytes=1-2"})
    assert (status, body, headers["Content-Range"]) == (206, b"el", "bytes 1-2/5")
    status, headers, body = s.ask("/page?a=1", headers={"Range": "bytes=9-"})
    assert (status, body, headers["Content-Range"]) == (416, b"", "bytes */5")
    assert s.origin.paths() == ["/page?a=1"]


def test_what_the_origin_is_told(site):
    s = site(lambda request, _: response("x", **FRESH))
    s.ask("/", headers={"Connection": "keep-alive, X-Hop", "X-Hop": "1", "TE": "trailers", "X-End": "2",
                        "Host": "a.example", "X-Forwarded-For": "6.6.6.6", "If-None-Match": '"y"',
                        "Range": "bytes=0-0"})
    headers = s.origin.requests[0].headers
    assert headers["host"] == "a.example"
    assert headers["x-end"] == "2"
    assert headers["via"] == "1.1 cachetastic"
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-host"] == "a.example"
    assert headers["range"] == "bytes=0-0"  # alone: test_parts.py
    for name in ("x-hop", "te", "connection", "if-none-match"):
        assert name not in headers


def test_trusted_proxies_are_believed(site):
    told = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example"}
    s = site(lambda request, _: response(request.headers["x-forwarded-proto"], **FRESH),
             top='trusted_proxies = [ "127.0.0.0/8" ];')
    assert s.ask("/", headers=told)[2] == b"https"
    assert s.ask("/")[2] == b"http"  # another page: the scheme is part of its address
    assert s.ask("/", headers=told)[2] == b"https"
    first, second = s.origin.requests
    assert first.headers["x-forwarded-for"] == "6.6.6.6, 127.0.0.1"
    assert first.headers["x-forwarded-host"] == "shop.example"
    assert second.headers["x-forwarded-for"] == "127.0.0.1"
    s = site(lambda request, _: response(request.headers["x-forwarded-proto"], **FRESH),
             top='trusted_proxies = [ "10.0.0.0/8", "::1" ];')
    assert s.ask("/", headers=told)[2] == b"http"
    assert s.origin.requests[0].headers["x-forwarded-for"] == "127.0.0.1"


def test_bodies_of_every_framing_pass_through(site):
    body = os.urandom(3_000_000)

    def answer(request, connection):
        if request.path == "/length":
            return response(body, Cache_Control="no-store")
        if request.path == "/chunked":
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for i in range(0, len(body), 70_000):
                piece = body[i:i + 70_000]
                connection.sendall(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            return b"0\r\n\r\n"
        connection.sendall(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\r\n" + body)
        return None

    s = site(answer)
    for path in ("/length", "/chunked", "/close", "/close"):
        assert s.ask(path)[2] == body, path
    assert s.origin.paths() == ["/length", "/chunked", "/close"]
    # A client that speaks HTTP/1.0 gets a body that ends with the connection.
    got = s.raw(b"GET /chunked HTTP/1.0\r\nHost: x\r\n\r\n")
    head, _, rest = got.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head
    assert rest == body


def test_request_bodies_are_streamed(site):
    body = os.urandom(2_000_000)
    s = site(lambda request, _: response(str(len(request.body)), X=request.headers.get("content-length", "none")))
    status, headers, got = s.ask("/up", "POST", body)
    assert (status, got, headers["X"]) == (200, b"2000000", "2000000")
    assert s.origin.requests[-1].body == body
    # http.client sends an iterator in chunks.
    status, headers, got = s.ask("/up", "PUT", iter([body[:5], body[5:]]))
    assert (status, got, headers["X"]) == (200, b"2000000", "none")
    assert s.origin.requests[-1].body == body
    got = s.raw(b"POST /up HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    assert got.endswith(b"\r\n\r\n0") and s.origin.requests[-1].headers["content-length"] == "0"


def test_expect_100_continue_is_answered_here(site):
    s = site(lambda request, _: response(request.body))
    with s.daemon.connect(s.daemon.port) as c:
        c.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert c.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        c.sendall(b"abc")
        got = b""
        while not got.endswith(b"abc"):
            got += c.recv(1000)
    assert "expect" not in s.origin.requests[0].headers


def test_variants_are_chosen_and_forgotten_together(site):
    s = site(lambda request, _: response(request.headers.get("accept-language", "-"), Vary="Accept-Language",
                                         **FRESH))
    for _ in range(2):
        for language in ("de", "en"):
            assert s.ask("/v", headers={"Accept-Language": language})[2].decode() == language
    assert len(s.origin.requests) == 2
    assert s.ask("/v", "POST", b"x")[0] == 200
    for language in ("de", "en"):
        s.ask("/v", headers={"Accept-Language": language})
    assert len(s.origin.requests) == 5


def test_a_variant_is_not_given_to_one_who_comes_late(site):
    """The first client's response has begun, and says Vary, when the second asks for another variant."""
    begun = threading.Event()

    def answer(request, connection):
        language = request.headers["accept-language"].encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nCache-Control: max-age=600\r\n"
                           b"Vary: Accept-Language\r\n\r\n" + language)
        begun.set()
        time.sleep(0.5)
        return language

    s = site(answer)
    results = []
    first = threading.Thread(target=lambda: results.append(s.ask("/", headers={"Accept-Language": "de"})[2]))
    first.start()
    assert begun.wait(10)
    time.sleep(0.1)
    assert s.ask("/", headers={"Accept-Language": "en"})[2] == b"enen"
    first.join()
    assert results == [b"dede"]


def test_a_stale_page_is_asked_about(site):
    def answer(request, _):
        if request.headers.get("if-none-match") == '"1"':
            return response(status="304 Not Modified", ETag='"1"', Cache_Control="max-age=600", X="new")
        return response("body", ETag='"1"', Cache_Control="max-age=1", X="old")

    s = site(answer)
    assert s.ask("/")[1]["X"] == "old"
    time.sleep(1.1)
    status, headers, body = s.ask("/")
    assert (status, body, headers["X"]) == (200, b"body", "new")
    assert headers["Cache-Status"] == "cachetastic; fwd=stale; fwd-status=304; stored"
    assert s.ask("/")[1]["Cache-Status"].startswith("cachetastic; hit")
    assert len(s.origin.requests) == 2


def test_a_page_whose_body_was_slow_ends_in_time(site):
    """Its time counts from its head; a crowd at its end makes one request."""
    def answer(request, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nCache-Control: max-age=2\r\n\r\nab")
        time.sleep(1)
        return b"cd"

    s = site(answer)
    assert s.ask("/")[2] == b"abcd"
    time.sleep(1.2)
    crowd = Crowd(s, 20, "/").run(4)
    assert (len(crowd.good), crowd.broken) == (20, 0)
    assert len(s.origin.requests) == 2


def test_stale_while_revalidate_answers_at_once(site):
    count = []

    def answer(request, _):
        count.append(1)
        time.sleep(0.5 if len(count) > 1 else 0)
        return response(str(len(count)), Cache_Control="max-age=1, stale-while-revalidate=60")

    s = site(answer)
    assert s.ask("/")[2] == b"1"
    time.sleep(1.1)
    before = time.monotonic()
    assert s.ask("/")[2] == b"1"
    assert s.ask("/")[2] == b"1"
    assert time.monotonic() - before < 0.4 * SLOW
    wait_until(lambda: s.ask("/")[2] == b"2", what="the refreshed page")
    assert len(count) == 2


def test_an_origin_that_is_gone_is_covered_for(site):
    mode = {"status": "200 OK"}
    rules = {"/": "max-age=1", "/sie": "max-age=1, stale-if-error=60", "/strict": "max-age=1, must-revalidate"}

    def answer(request, _):
        if mode["status"] != "200 OK":
            return response("sorry", mode["status"])
        return response("page", Cache_Control=rules.get(request.path, "no-cache"))

    s = site(answer)
    for path in ("/", "/sie", "/strict"):
        assert s.ask(path)[0] == 200
    time.sleep(1.1)
    mode["status"] = "503 Service Unavailable"
    status, headers, body = s.ask("/sie")
    assert (status, body) == (200, b"page")
    assert headers["Cache-Status"] == "cachetastic; fwd=stale; fwd-status=503; detail=stale-if-error"
    assert s.ask("/")[0] == 503
    s.origin.stop()
    status, headers, body = s.ask("/")
    assert (status, body) == (200, b"page")
    assert headers["Cache-Status"] == "cachetastic; fwd=stale; detail=origin-unreachable"
    assert s.ask("/strict")[0] == 502
    assert s.ask("/never-seen")[0] == 502
    # It comes back by itself.
    mode["status"] = "200 OK"
    s.origin = Origin(s.origin.answer, s.origin.port)
    wait_until(lambda: s.ask("/fresh")[0] == 200, what="the origin being used again")


class Load:
    """Four clients that ask for pages, round and round, until the end of the block. Each answer: status, body,
    Cache-Status."""

    def __init__(self, port, paths):
        self.port, self.paths, self.answers = port, paths, []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.ask) for _ in range(4)]

    def ask(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30 * SLOW)
        while not self.over.is_set():
            for path in self.paths:
                connection.request("GET", path)
                reply = connection.getresponse()
                self.answers.append((reply.status, reply.read(), reply.headers["Cache-Status"]))
        connection.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self.answers

    def __exit__(self, *exc):
        self.over.set()
        for thread in self.threads:
            thread.join()


def test_the_origin_killed_under_load(site):
    """Stored pages go on, past their time too, and say so; the origin is used again when it is back."""
    s = site(lambda request, _: response("page", Cache_Control="max-age=1"), workers=2)
    paths = [f"/{i}" for i in range(20)]
    for path in paths:
        s.ask(path)
    with Load(s.daemon.port, paths) as answers:
        time.sleep(0.5)
        s.origin.stop()
        wait_until(lambda: sum("origin-unreachable" in status for _, _, status in answers[-1000:]) > 100,
                   what="pages past their time")
        s.origin = Origin(s.origin.answer, s.origin.port)
        done = len(answers)
        wait_until(lambda: sum("stored" in status for _, _, status in answers[done:]) > 5, what="the origin used again")
    assert {(status, body) for status, body, _ in answers} == {(200, b"page")}


def test_pages_that_cannot_be_cached_do_not_wait_for_each_other(site):
    def answer(request, _):
        time.sleep(0.3)
        return response("mine", Cache_Control="private")

    s = site(answer)
    s.ask("/")
    before = time.monotonic()
    threads = [threading.Thread(target=s.ask, args=("/",)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - before < 2 * SLOW
    assert len(s.origin.requests) == 21


class Crowd:
    """n requests at once, each over a connection of its own that is open before, in one thread: what is
    measured is the daemon."""

    def __init__(self, s, n, path):
        self.selector = selectors.DefaultSelector()
        self.sockets = [s.daemon.connect(s.daemon.port) for _ in range(n)]
        self.got = {client: b"" for client in self.sockets}
        self.good, self.broken = [], 0  # times of the whole answers; connections that broke
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{s.daemon.port}\r\nConnection: close\r\n\r\n"
        self.began = time.monotonic()
        for client in self.sockets:
            client.sendall(request.encode())
            client.setblocking(False)
            self.selector.register(client, selectors.EVENT_READ)

    def run(self, size, seconds=None):
        """Read until all are answered, or for so long."""
        until = time.monotonic() + (seconds or 30 * SLOW)
        while self.selector.get_map() and time.monotonic() < until:
            for key, _ in self.selector.select(0.01):
                self.read(key.fileobj, size)
        return self

    def read(self, client, size):
        try:
            piece = client.recv(1 << 16)
        except ConnectionError:
            piece = b""
        self.got[client] += piece
        if piece:
            return
        head, _, body = self.got[client].partition(b"\r\n\r\n")
        if head.startswith(b"HTTP/1.1 200 ") and len(body) == size:
            self.good.append(time.monotonic())
        else:
            self.broken += 1
        self.selector.unregister(client)
        client.close()


def one_second(request, _):
    time.sleep(1)
    return response("x" * 20_000, **FRESH)


def test_a_crowd_makes_one_request(site):
    s = site(one_second, workers=2)
    crowd = Crowd(s, 500, "/slow").run(20_000)
    assert (len(crowd.good), crowd.broken) == (500, 0)
    assert len(s.origin.requests) == 1
    assert max(crowd.good) - crowd.began < 1.5 * SLOW


def test_a_crowd_survives_the_worker_that_asks(site):
    s = site(one_second, workers=2)
    crowd = Crowd(s, 500, "/slow").run(20_000, seconds=0.5)
    assert len(s.origin.requests) == 1 and not crowd.good
    # Which worker asks is what its connection says.
    port = s.origin.open[0].getpeername()[1]
    pid = next(pid for pid in s.daemon.worker_pids() if owns_port(pid, port))
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    crowd.run(20_000)
    # Its own clients' connections went with it; of the others nobody waits longer than one more fetch.
    assert len(crowd.good) + crowd.broken == 500
    assert len(crowd.good) >= 200
    assert len(s.origin.requests) == 2
    assert max(crowd.good) - killed < 1.5 * SLOW


def owns_port(pid, port):
    """Whether the process has a TCP socket whose own port this is."""
    inodes = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table][1:]
    return any(row[9] in inodes and int(row[1].split(":")[1], 16) == port for row in rows)


def test_servers_take_turns_and_a_dead_one_is_left_out(tmp_path):
    first = Origin(lambda request, _: response("1", Cache_Control="no-store"))
    second = Origin(lambda request, _: response("2", Cache_Control="no-store"))
    with Site(tmp_path, lambda *_: None) as unused:
        unused.daemon.stop()
        unused.daemon.argv = unused.daemon.argv[:1] + ["-c", str(tmp_path / "two.conf")]
        (tmp_path / "two.conf").write_text(
            (tmp_path / "cachetastic.conf").read_text().replace(
                f'"{unused.origin.url}"', f'"{first.url}", "{second.url}"'))
        unused.daemon.start()
        assert {unused.ask("/")[2] for _ in range(4)} == {b"1", b"2"}
        second.stop()
        assert {unused.ask("/")[2] for _ in range(10)} == {b"1"}
    first.stop()


def test_cookies_can_bypass(site):
    s = site(lambda request, _: response(request.headers.get("cookie", "-"), **FRESH),
             route='bypass_cookies = [ "session*" ];')
    assert s.ask("/", headers={"Cookie": "a=b"})[2] == b"a=b"
    assert s.ask("/", headers={"Cookie": "c=d"})[2] == b"a=b"
    assert s.ask("/", headers={"Cookie": "c=d; sessionid=1"})[2] == b"c=d; sessionid=1"
    assert s.ask("/", headers={"Cookie": "sessionid=2"})[2] == b"sessionid=2"


def test_the_api_is_on_the_admin_listener(site):
    s = site(lambda request, _: response("site"))
    assert s.ask("/v1/stats")[2] == b"site"
    assert s.ask("/healthz", port=s.admin)[0] == 200
    assert s.ask("/v1/caches/http", port=s.admin)[0] == 200


def purge(s, path, soft=""):
    url = f"http://127.0.0.1:{s.daemon.port}{path}".replace(":", "%3a").replace("/", "%2f")
    return s.ask(f"/v1/caches/http/purge?url={url}{soft}", "POST", port=s.admin)


def test_a_page_is_purged_by_its_address(site):
    def answer(request, _):
        if "if-none-match" in request.headers:
            return response(status="304 Not Modified", ETag='"1"', **FRESH)
        return response("x", ETag='"1"', Vary="A" if request.path == "/v" else "B", **FRESH)

    s = site(answer, route='ignore_query = [ "utm_*" ];')
    for path in ("/p?a=1", "/v"):
        s.ask(path, headers={"A": "1"})
        s.ask(path, headers={"A": "1"})
    assert s.origin.paths() == ["/p?a=1", "/v"]
    assert purge(s, "/p%3fa=1%26utm_x=2")[0] == 200
    assert purge(s, "/v")[0] == 200
    assert purge(s, "/none")[0] == 200
    assert s.ask("/v1/caches/http/purge?url=x", "POST", port=s.admin)[0] == 400
    s.ask("/p?a=1")
    s.ask("/v", headers={"A": "1"})
    assert s.origin.paths() == ["/p?a=1", "/v"] * 2


def test_a_soft_purge_makes_a_page_stale(site):
    def answer(request, _):
        if "if-none-match" in request.headers:
            return response(status="304 Not Modified", ETag='"1"', **FRESH)
        return response("x", ETag='"1"', **FRESH)

    s = site(answer)
    s.ask("/p")
    assert purge(s, "/p", "&soft=1")[0] == 200
    assert s.ask("/p")[1]["Cache-Status"] == "cachetastic; fwd=stale; fwd-status=304; stored"
    assert s.ask("/p")[1]["Cache-Status"].startswith("cachetastic; hit")
    assert purge(s, "/p", "&soft=1")[0] == 200
    s.origin.stop()
    assert s.ask("/p")[1]["Cache-Status"] == "cachetastic; fwd=stale; detail=origin-unreachable"


def test_the_method_purge_needs_rights(tmp_path, site):
    s = site(lambda request, _: response("x", **FRESH))
    assert s.ask("/p", "PURGE")[0] == 405
    token = tmp_path / "token"
    token.write_text("secret\n")
    token.chmod(0o600)
    with Site(tmp_path / "s", lambda request, _: response("x", **FRESH), top=f'api_token_file = "{token}";') as s:
        s.ask("/p")
        assert s.ask("/p", "PURGE")[0] == 401
        assert s.ask("/p", "PURGE", headers={"Authorization": "Bearer wrong"})[0] == 401
        s.ask("/p")
        assert len(s.origin.requests) == 1
        assert s.ask("/p", "PURGE", headers={"Authorization": "Bearer secret"})[0] == 200
        assert s.ask("/p", "PURGE", headers={"Authorization": "Bearer secret"})[0] == 404
        s.ask("/p")
        assert s.origin.paths() == ["/p", "/p"]


def test_tags_purge(site):
    s = site(lambda request, _: response("x", Surrogate_Key="news front", **FRESH))
    assert "Surrogate-Key" not in s.ask("/")[1]
    s.ask("/")
    assert len(s.origin.requests) == 1
    assert s.ask("/v1/caches/http/purge?tag=front", "POST", port=s.admin)[0] == 200
    s.ask("/")
    assert len(s.origin.requests) == 2


def test_the_access_log(site, tmp_path):
    log = tmp_path / "access.log"
    s = site(lambda request, _: response("hello", **FRESH), top=f'access_log = "{log}";')
    s.ask("/a", headers={"User-Agent": 'x"y', "Host": "h"})
    s.ask("/a", headers={"Host": "h"})
    s.ask("/a", "HEAD", headers={"Host": "h"})
    lines = wait_until(lambda: log.exists() and log.read_text().count("\n") >= 3 and log.read_text().splitlines(),
                       what="three lines")
    words = lines[0].split()
    assert words[2:5] == ['"GET', "/a", 'HTTP/1.1"'] and words[5:8] == ["h", "200", "5"]
    assert '"fwd=uri-miss; fwd-status=200; stored" ' + s.origin.url in lines[0] and lines[0].endswith('"x\\x22y"')
    assert '"hit; ttl=' in lines[1] and lines[2].split()[7] == "0"
    log.rename(tmp_path / "old.log")
    s.daemon.process.send_signal(signal.SIGUSR1)
    wait_until(log.exists, what="the log opened anew")
    s.ask("/b")
    wait_until(lambda: "/b" in log.read_text(), what="a line in the new file")


def test_a_wrong_log_format_is_refused(tmp_path):
    config = 'access_log = "x"; access_log_format = "$time $nope";\n'
    (tmp_path / "c.conf").write_text(config)
    result = subprocess.run([str(DAEMON), "-t", "-c", str(tmp_path / "c.conf")], capture_output=True, text=True)
    assert result.returncode == 1 and "$nope" in result.stderr


def test_clients_that_stall_are_let_go(site):
    s = site(lambda request, _: response(b"x" * 30_000_000, Cache_Control="no-store"),
             top='limits = {{ http_stall = "1s"; http_idle = "1s"; }};')
    reader, sender, idler = (s.daemon.connect(s.daemon.port) for _ in range(3))
    reader.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    sender.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
    idler.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert len(until_end(idler)) > 30_000_000  # it has read everything, and asks for nothing more
    assert until_end(sender) == b""
    time.sleep(2 * SLOW)
    assert len(until_end(reader)) < 30_000_000


def until_end(s):
    """What comes until the other side closes."""
    got = []
    with s:
        s.settimeout(10 * SLOW)
        try:
            while piece := s.recv(1 << 20):
                got.append(piece)
        except ConnectionResetError:
            pass
    return b"".join(got)


def test_a_broken_response_is_broken_for_the_client_too(site):
    def answer(request, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nCache-Control: max-age=9\r\n\r\n5\r\nab")
        return None

    s = site(answer)
    got = s.raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert not got.endswith(b"0\r\n\r\n")
    with pytest.raises((http.client.HTTPException, OSError)):
        s.ask("/")
    assert len(s.origin.requests) == 2
