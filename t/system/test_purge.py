"""Purges of pages: by every door, on every machine."""

import threading
import time
import urllib.request

import pytest
from harness import Daemon, free_port, wait_until
from origin import Origin, response

TAGGED = {"Cache_Control": "max-age=600", "Surrogate_Key": "shop red", "ETag": '"e"'}


class Node:
    """One of several machines in front of the same origin, with the same Redis."""

    def __init__(self, directory, origin, redis, backend):
        self.admin = free_port()
        self.daemon = Daemon(directory, config=(
            'workers = 2;\n'
            'listen = ( {{ address = "unix:{socket}"; }}, {{ address = "127.0.0.1:{port}"; protocol = "http"; }},\n'
            f'  {{{{ address = "127.0.0.1:{self.admin}"; protocol = "http"; admin = true; }}}} );\n'
            f'redis = {{{{ server = "127.0.0.1:{redis.port}"; }}}};\n'
            f'caches = ( {{{{ name = "http"; memory = "32M"; backend = "{backend}"; }}}} );\n'
            f'routes = ( {{{{ origin = [ "{origin.url}" ]; }}}} );\n'))
        wait_until(lambda: self.daemon.stats()["redis"]["invalidation_confirmed"], what="the subscription")

    def ask(self, path):
        status, headers, body = self.daemon.http("GET", path, headers={"Host": "shop.example"})
        assert status == 200
        return headers["Cache-Status"]

    def has(self, path):
        return "hit" in self.ask(path)

    def purge(self, query):
        request = urllib.request.Request(f"http://127.0.0.1:{self.admin}/v1/caches/http/purge?{query}", method="POST")
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status


def fill(nodes, *paths):
    for node in nodes:
        for path in paths:
            node.ask(path)
            wait_until(lambda: node.has(path), what="a hit")


@pytest.fixture(params=["memory", "layered"])
def nodes(tmp_path, redis_server, request):
    origin = Origin(lambda request, _: response(request.path, **TAGGED))
    made = [Node(tmp_path / name, origin, redis_server, request.param) for name in ("a", "b")]
    for node in made:
        node.origin, node.backend = origin, request.param
    yield made
    for node in made:
        node.daemon.stop()
    origin.stop()


URL = "http%3A%2F%2Fshop.example%2F"


def asked_again(node, path):
    """Whether the origin is asked for it now; it is stored again then."""
    before = len(node.origin.requests)
    node.ask(path)
    return len(node.origin.requests) > before


@pytest.mark.parametrize("how", ["url", "pattern", "tag", "ctl url", "ctl tag", "resp url"])
def test_a_purge_reaches_every_machine(nodes, how):
    a, b = nodes
    fill(nodes, "/red", "/keep")
    if how == "url":
        a.purge(f"url={URL}red")
    elif how == "pattern":
        a.purge("pattern=http%3A%2F%2Fshop.example%2Fr*")
    elif how == "tag":
        a.purge("tag=red")
    elif how == "ctl url":
        assert a.daemon.ctl("purge", "--url", "http://shop.example/red").returncode == 0
    elif how == "ctl tag":
        assert a.daemon.ctl("-c", "http", "purge", "--tag", "red").returncode == 0
    else:
        assert a.daemon.cache("http").execute_command("CACHETASTIC.PURGE", "URL", "http://shop.example/red") == 1
    # Layered caches share what the first of them fetches anew.
    assert asked_again(a, "/red")
    if a.backend == "memory":
        wait_until(lambda: asked_again(b, "/red"), what="the purge at the other machine")
    else:
        wait_until(lambda: b.daemon.stats()["caches"]["http"]["invalidations"] > 0, what="a message")
        wait_until(lambda: b.has("/red"), what="the new page from Redis")
    if "tag" not in how:
        assert a.has("/keep") and b.has("/keep")


def test_what_is_no_purge_stays_here(nodes):
    a, b = nodes
    if a.backend != "memory":
        pytest.skip("layered caches share every change")
    fill(nodes, "/red", "/keep")
    a.daemon.cache("http").delete("http://shop.example/red")
    a.daemon.cache("http").execute_command("CACHETASTIC.CLEAR")
    a.purge("tag=other")  # a message that comes after what the others would have sent
    wait_until(lambda: b.daemon.stats()["caches"]["http"]["invalidations"] > 0, what="the message")
    assert b.has("/red") and b.has("/keep")


def test_a_soft_purge_by_the_command_line(nodes):
    a, b = nodes
    fill(nodes, "/red")
    done = a.daemon.ctl("purge", "--url", "http://shop.example/red", "--soft")
    assert (done.returncode, done.stdout) == (0, b"stale from now on\n")
    before = len(a.origin.requests)
    status = a.ask("/red")
    assert len(a.origin.requests) == before + 1
    if a.backend == "memory":
        assert a.origin.requests[-1].headers.get("if-none-match") == '"e"', status
        wait_until(lambda: asked_again(b, "/red"), what="the purge at the other machine")


def test_what_the_command_line_says(nodes):
    a, _ = nodes
    done = a.daemon.ctl("purge", "--url", "http://shop.example/nothing")
    assert (done.returncode, done.stderr) == (1, b"cachetasticctl: that page is not stored\n")
    assert b"http://HOST/PATH" in a.daemon.ctl("purge", "--url", "shop.example").stderr
    assert b"one of them" in a.daemon.ctl("purge", "--url", "http://a/", "--tag", "x").stderr


@pytest.mark.parametrize("how", ["api pattern", "api tag", "ctl pattern", "ctl tag"])
def test_soft_purges_of_many_pages(nodes, how):
    """They are asked about, once each, on every machine; and served while nobody answers."""
    a, b = nodes
    known = a.origin.answer
    a.origin.answer = lambda request, _: (response("", "304 Not Modified", ETag='"e"', Cache_Control="max-age=600")
                                          if "if-none-match" in request.headers else known(request, _))
    fill(nodes, "/red", "/rot", "/blue")
    if how == "api pattern":
        a.purge("pattern=http%3A%2F%2Fshop.example%2Fr*&soft=1")
    elif how == "api tag":
        a.purge("tag=red&soft=1")
    elif how == "ctl pattern":
        assert a.daemon.ctl("-c", "http", "purge", "--soft", "http://shop.example/r*").stdout == b"stale from now on\n"
    else:
        assert a.daemon.ctl("-c", "http", "purge", "--soft", "--tag", "red").returncode == 0
    wait_until(lambda: b.daemon.stats()["caches"]["http"]["invalidations"] > 0, what="the message at the other machine")
    for path in ("/red", "/rot"):
        before = len(a.origin.requests)
        status = a.ask(path)
        assert len(a.origin.requests) == before + 1, status
        assert a.origin.requests[-1].headers["if-none-match"] == '"e"'
        wait_until(lambda p=path: a.has(p), what="a hit again")
        if a.backend == "memory":
            assert asked_again(b, path)
            assert a.origin.requests[-1].headers["if-none-match"] == '"e"'
        wait_until(lambda p=path: b.has(p), what="a hit again")
    if "pattern" in how:
        assert a.has("/blue") and b.has("/blue")
    # The 304 named no tags: what was tagged still is.
    a.purge("tag=shop")
    assert asked_again(a, "/red")


def test_a_page_purged_softly_is_served_while_nobody_answers(nodes):
    a, _ = nodes
    fill([a], "/red")
    a.purge("tag=red&soft=1")
    a.origin.stop()
    assert "origin-unreachable" in a.ask("/red")


def test_soft_purges_are_one_request_for_a_crowd(nodes):
    a, _ = nodes
    if a.backend != "memory":
        pytest.skip("layered pages are asked about by everyone until one is stored")
    fill([a], "/red")
    known = a.origin.answer

    def slow(request, connection):
        time.sleep(0.5)
        return known(request, connection)

    a.origin.answer = slow
    a.purge("pattern=*&soft=1")
    before = len(a.origin.requests)
    threads = [threading.Thread(target=a.ask, args=("/red",)) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(a.origin.requests) == before + 1
