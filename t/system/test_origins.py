"""The servers behind a route: which one gets a request, and what becomes of those that fail."""

import http.client
import os
import threading
import time

import pytest
from harness import SLOW, wait_until
from origin import Origin, response
from test_site import FRESH, Load, Site

UNCACHED = {"Cache_Control": "no-store"}


@pytest.fixture
def servers(tmp_path):
    """n origins that answer with their number, and a site in front of them."""
    made = []

    def make(n, answer=None, **options):
        origins = []
        for i in range(n):
            origins.append(Origin(lambda request, _, i=i: answer(i, request) if answer else response(str(i), **UNCACHED)))
        s = Site(tmp_path / str(len(made)), lambda *_: None, origins=[o.url for o in origins], **options)
        s.origins = origins
        made.append(s)
        return s

    yield make
    for s in made:
        s.__exit__()
        for origin in s.origins:
            origin.stop()


def up(s):
    return [origin["up"] for origin in s.daemon.stats()["origins"]]


def test_each_in_turn(servers):
    s = servers(3)
    assert sorted(s.ask("/")[2] for _ in range(9)) == [b"0"] * 3 + [b"1"] * 3 + [b"2"] * 3


def test_the_one_with_the_fewest_requests(servers):
    hold = threading.Event()

    def answer(i, request):
        if request.path.startswith("/hold"):
            hold.wait(20 * SLOW)
        return response(str(i), **UNCACHED)

    # Two workers: what the other one has open counts too.
    s = servers(3, answer, route='balance = "least_connections";', workers=2)
    threads = [threading.Thread(target=s.ask, args=(f"/hold{i}",)) for i in range(2)]
    for held, thread in enumerate(threads, 1):
        thread.start()
        wait_until(lambda n=held: sum(o["busy"] for o in s.daemon.stats()["origins"]) == n,
                   what="a request that is held")
    free = [i for i, origin in enumerate(s.daemon.stats()["origins"]) if origin["busy"] == 0]
    assert len(free) == 1
    assert {s.ask("/")[2] for _ in range(10)} == {b"%d" % free[0]}
    hold.set()
    for thread in threads:
        thread.join()
    wait_until(lambda: not any(o["busy"] for o in s.daemon.stats()["origins"]), what="nothing open")
    assert {s.ask("/")[2] for _ in range(30)} == {b"0", b"1", b"2"}


def test_always_the_same_one_for_a_page(servers):
    s = servers(3, route='balance = "hash"; fail_timeout = "1h";', workers=2)
    paths = [f"/{i}" for i in range(60)]

    def places():
        return {path: s.ask(path)[2] for path in paths}

    before = places()
    assert before == places()
    assert min(list(before.values()).count(b"%d" % i) for i in range(3)) >= 8
    s.origins[1].stop()
    after = places()
    assert b"1" not in after.values()
    assert all(after[path] == before[path] for path in paths if before[path] != b"1")


def test_failures_count_for_all_workers(servers):
    # A server that takes connections and ends them: each attempt is seen.
    s = servers(2, lambda i, request: response("well", **UNCACHED) if i == 0 else None,
                route='fail_count = 3; fail_timeout = "1h"; keepalive = 0;', workers=4)
    connections = [http.client.HTTPConnection("127.0.0.1", s.daemon.port, timeout=30 * SLOW) for _ in range(16)]
    for _ in range(4):
        for connection in connections:
            connection.request("GET", "/")
            reply = connection.getresponse()
            assert (reply.status, reply.read()) == (200, b"well")
    assert s.origins[1].accepted == 3
    assert up(s) == [True, False]


def test_one_request_tries_a_server_again(servers):
    well = threading.Event()

    def answer(i, request):
        if i == 1 and not well.is_set():
            return None
        return response(str(i), **UNCACHED)

    s = servers(2, answer, route='fail_timeout = "500ms"; keepalive = 0;', workers=2)
    wait_until(lambda: s.ask("/")[0] == 200 and not up(s)[1], what="the server being left out")
    tried = s.origins[1].accepted
    until = time.monotonic() + 1.6
    while time.monotonic() < until:
        assert s.ask("/")[2] == b"0"
    assert 1 <= s.origins[1].accepted - tried <= 3
    well.set()
    wait_until(lambda: s.ask("/")[2] == b"1", what="the server being used again")
    assert up(s) == [True, True]


def test_health_checks_are_one_workers_at_a_time(servers):
    sick = threading.Event()

    def answer(i, request):
        if request.path == "/up" and i == 1 and sick.is_set():
            return response("no", "503 Service Unavailable")
        return response(str(i), **UNCACHED)

    s = servers(2, answer, route='health_path = "/up"; health_interval = "200ms";', workers=4)
    before = [origin.paths().count("/up") for origin in s.origins]
    time.sleep(2)
    for origin, n in zip(s.origins, before):
        assert 4 <= origin.paths().count("/up") - n <= 11
    sick.set()
    wait_until(lambda: up(s) == [True, False], what="the sick server being left out")
    assert {s.ask("/")[2] for _ in range(20)} == {b"0"}
    sick.clear()
    wait_until(lambda: up(s) == [True, True], what="the server being back")
    assert {s.ask("/")[2] for _ in range(20)} == {b"0", b"1"}


def test_a_check_that_hangs_is_a_failed_one(servers):
    def answer(i, request):
        if request.path == "/up":
            time.sleep(30)
        return response(str(i), **UNCACHED)

    s = servers(1, answer, route='health_path = "/up"; health_interval = "100ms"; health_timeout = "300ms";')
    wait_until(lambda: up(s) == [False], what="the server being left out")
    assert s.ask("/")[0] == 502


def test_the_origin_killed_under_load_with_checks(servers):
    """Pages past their time go on while the server is away, and say so; the checks bring it back, though no
    request could try it for an hour."""
    s = servers(1, lambda i, request: response("page", Cache_Control="max-age=1"), workers=2,
                route='health_path = "/up"; health_interval = "200ms"; fail_timeout = "1h";')
    paths = [f"/{i}" for i in range(10)]
    for path in paths:
        s.ask(path)
    with Load(s.daemon.port, paths) as answers:
        time.sleep(0.5)
        s.origins[0].stop()
        wait_until(lambda: up(s) == [False], what="the server being out")
        wait_until(lambda: sum("origin-unreachable" in status for _, _, status in answers[-1000:]) > 100,
                   what="pages past their time")
        s.origins[0] = Origin(s.origins[0].answer, s.origins[0].port)
        done = len(answers)
        wait_until(lambda: sum("stored" in status for _, _, status in answers[done:]) > 5, what="the origin used again")
    assert {(status, body) for status, body, _ in answers} == {(200, b"page")}
    assert up(s) == [True]


def test_a_unix_socket(tmp_path):
    path = tmp_path / "app.sock"
    origin = Origin(lambda request, _: response(request.headers["host"] + request.path, **FRESH), path=path)
    with Site(tmp_path / "site", lambda *_: None, origins=[origin.url]) as s:
        assert s.ask("/a", headers={"Host": "shop.example"})[2] == b"shop.example/a"
        assert "hit" in s.ask("/a", headers={"Host": "shop.example"})[1]["Cache-Status"]
        origin.stop()
        assert s.ask("/b")[0] == 502
        path.unlink()
        origin = Origin(origin.answer, path=path)
        wait_until(lambda: s.ask("/b")[0] == 200, what="the origin being used again")
        origin.stop()


def test_key_headers(tmp_path):
    def answer(request, _):
        return response(request.headers.get("x-device", "-"), **FRESH)

    with Site(tmp_path, answer, route='key_headers = [ "X-Device" ];') as s:
        for _ in range(2):
            for device in ("phone", "tablet", ""):
                assert s.ask("/", headers={"X-Device": device})[2] == device.encode()
            assert s.ask("/")[2] == b"-"
            assert s.ask("/", headers={"X-Other": "1"})[2] == b"-"
        assert len(s.origin.requests) == 4


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give the daemon other names")
def test_a_name_of_which_not_all_addresses_answer(tmp_path):
    """As localhost on Debian, which is ::1 too: a server that listens on 127.0.0.1 alone is reached every time."""
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n::1 twice.example\n127.0.0.2 twice.example\n127.0.0.1 twice.example\n")
    origin = Origin(lambda request, _: response("well", **UNCACHED))
    s = Site(tmp_path / "site", lambda *_: None, origins=[f"http://twice.example:{origin.port}"], start=False,
             route='keepalive = 0; fail_count = 1; fail_timeout = "1h";')
    s.daemon.argv = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts), *s.daemon.argv]
    try:
        s.daemon.start()
        assert [s.ask(f"/{i}")[0] for i in range(12)] == [200] * 12
        assert up(s) == [True]
    finally:
        s.daemon.stop()
        origin.stop()
