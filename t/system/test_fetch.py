"""CACHETASTIC.FETCH, FILL, FAIL and the same over HTTP: one computation a key."""

import os
import signal
import threading
import time

import pytest
import redis

import fetch_storm
from harness import SLOW, wait_until


def fetch(client, key, *options):
    return client.execute_command("CACHETASTIC.FETCH", key, *options)


def fill(client, key, token, value, *options):
    return client.execute_command("CACHETASTIC.FILL", key, token, value, *options)


@pytest.fixture
def one(daemon):
    return daemon.client(single_connection_client=True)


def test_storm_of_200_processes(daemon):
    """Five rounds here; ./dev fetch-storm plays a hundred."""
    fetch_storm.storm(str(daemon.socket), 5, 200)


@pytest.mark.parametrize("protocol", [2, 3])
def test_miss_fill_hit(daemon, protocol):
    stream = daemon.connect().makefile("rwb")

    def call(*args):
        return fetch_storm.command(stream, *args)

    call("HELLO", protocol)
    state, value, token, ms = call("CACHETASTIC.FETCH", "k")
    assert (state, value, ms) == (b"MISS", None, 0) and len(token) == 16
    assert call("CACHETASTIC.FETCH", "k", "WAIT", 0)[:3] == [b"BUSY", None, None]
    assert call("CACHETASTIC.FILL", "k", token.decode(), "v", "PX", 60000) == 1
    state, value, token, ms = call("CACHETASTIC.FETCH", "k")
    assert (state, value, token) == (b"HIT", b"v", None) and 0 < ms <= 60000
    assert call("GET", "k") == b"v"
    call("SET", "forever", "x")
    assert call("CACHETASTIC.FETCH", "forever") == [b"HIT", b"x", None, -1]


def test_a_lease_that_is_over_stores_nothing(one):
    token = fetch(one, "k")[2]
    one.set("k", "newer")
    assert fill(one, "k", token, "older") == 0
    assert one.get("k") == b"newer"
    token = fetch(one, "late", "LEASE", 1)[2]
    time.sleep(0.02)
    assert fill(one, "late", token, "x") == 0 and one.get("late") is None


def test_fail_lets_the_next_one_try_or_keeps_all_away(one):
    token = fetch(one, "k")[2]
    assert one.execute_command("CACHETASTIC.FAIL", "k", token) in (b"OK", True)
    token = fetch(one, "k", "WAIT", 0)[2]
    assert token is not None
    one.execute_command("CACHETASTIC.FAIL", "k", token, "RETRY", 60000)
    state, value, token, ms = fetch(one, "k", "WAIT", 0)
    assert (state, value, token) == (b"BUSY", None, None) and 50000 < ms <= 60000


def test_stale_value_while_another_computes(one):
    token = fetch(one, "k")[2]
    assert fill(one, "k", token, "old", "PX", 30, "STALE", 60000) == 1
    time.sleep(0.06)
    assert one.get("k") is None
    state, value, token, ms = fetch(one, "k", "STALE", 60000, "WAIT", 0)
    assert (state, value, ms) == (b"STALE", b"old", 0) and token is not None
    assert fetch(one, "k", "STALE", 60000, "WAIT", 0) == [b"STALE", b"old", None, 0]
    assert fill(one, "k", token, "new") == 1
    assert fetch(one, "k")[:2] == [b"HIT", b"new"]


def test_early_refresh_grants_beside_a_value_that_counts(one):
    """A computation of 100 ms and an enormous beta: the refresh is due long before the expiry."""
    token = fetch(one, "k")[2]
    time.sleep(0.1)
    fill(one, "k", token, "v", "PX", 10000)
    state, value, token, ms = wait_until(lambda: (lambda r: r if r[2] else None)(fetch(one, "k", "BETA", 100, "WAIT", 0)),
                                         30, "an early lease")
    assert (state, value) == (b"HIT", b"v") and ms > 0
    assert fetch(one, "k", "BETA", 100, "WAIT", 0)[2] is None


def waiting_fetch(daemon, key, answers):
    def run():
        client = daemon.client(single_connection_client=True)
        answers.append((fetch(client, key, "WAIT", 20000), time.monotonic()))

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_closing_the_connection_gives_the_lease_to_one_who_waits(daemon):
    owner = daemon.client(single_connection_client=True)
    assert fetch(owner, "k", "LEASE", 30000)[2] is not None
    answers = []
    thread = waiting_fetch(daemon, "k", answers)
    wait_until(lambda: daemon.stats()["total"]["lease_waits"] > 0, 10, "the waiter waiting")
    closed = time.monotonic()
    owner.connection.disconnect()
    thread.join()
    (reply, when), = answers
    assert reply[0] == b"MISS" and reply[2] is not None and when - closed < 5 * SLOW


def test_killing_the_worker_gives_the_lease_to_one_who_waits(daemon):
    """The owner's worker dies; the waiter is on the other one."""
    clients = [daemon.client(single_connection_client=True) for _ in range(8)]
    by_worker = {}
    for client in clients:
        by_worker.setdefault(client.info("server")["worker"], client)
    assert len(by_worker) == 2
    pids = {w["slot"]: w["pid"] for w in daemon.stats()["workers"]}
    (victim, owner), (_, other) = by_worker.items()
    assert fetch(owner, "k", "LEASE", 30000)[2] is not None
    answers = []

    def run():
        answers.append(fetch(other, "k", "WAIT", 20000))

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: daemon.stats()["total"]["lease_waits"] > 0, 10, "the waiter waiting")
    began = time.monotonic()
    os.kill(pids[victim], signal.SIGKILL)
    thread.join()
    assert answers[0][0] == b"MISS" and answers[0][2] is not None and time.monotonic() - began < 10 * SLOW


def test_a_waiting_client_that_goes_away_leaves_no_lease(daemon):
    owner = daemon.client(single_connection_client=True)
    token = fetch(owner, "k", "LEASE", 30000)[2]
    gone = daemon.connect()
    gone.sendall(fetch_storm.encode("CACHETASTIC.FETCH", "k", "WAIT", 20000, "LEASE", 30000))
    wait_until(lambda: daemon.stats()["total"]["lease_waits"] > 0, 10, "the waiter waiting")
    gone.close()
    owner.execute_command("CACHETASTIC.FAIL", "k", token)
    reply = wait_until(lambda: (lambda r: r if r[0] == b"MISS" else None)(fetch(owner, "k", "WAIT", 0)), 10, "the lease free")
    assert reply[2] is not None


@pytest.mark.parametrize("args, limit", [
    (("CACHETASTIC.FETCH", "k", "WAIT", 60001), "limits.fetch_wait"),
    (("CACHETASTIC.FETCH", "k", "LEASE", 0), "limits.fetch_lease"),
    (("CACHETASTIC.FETCH", "k", "LEASE", 600001), "limits.fetch_lease"),
    (("CACHETASTIC.FETCH", "k", "STALE", 86400001), "limits.fetch_stale"),
    (("CACHETASTIC.FETCH", "k", "BETA", "x"), "BETA takes a number"),
    (("CACHETASTIC.FETCH", "k", "BETA", "nan"), "BETA takes a number"),
    (("CACHETASTIC.FETCH", "k", "WAIT"), "limits.fetch_wait"),
    (("CACHETASTIC.FETCH", "k", "NOW"), "syntax error"),
    (("CACHETASTIC.FILL", "k", "0000", "v"), "no token"),
    (("CACHETASTIC.FILL", "k", "0" * 16, "v"), "no token"),
    (("CACHETASTIC.FILL", "k", "1" * 16, "v", "TAGS", 2, "a"), "TAGS takes"),
    (("CACHETASTIC.FILL", "k", "1" * 16, "v", "TAGS", 65, *range(65)), "TAGS takes"),
    (("CACHETASTIC.FAIL", "k", "1" * 16, "RETRY", 600001), "limits.fetch_lease"),
    (("SET", "k", "v", "TAGS", 0), "TAGS takes"),
])
def test_bad_input_names_its_limit(one, args, limit):
    with pytest.raises(redis.ResponseError, match=limit):
        one.execute_command(*args)


def test_a_connection_holds_so_many_leases(daemons):
    daemon = daemons(config='limits = {{ leases = 3; }}; listen = ( {{ address = "unix:{socket}"; }} ); workers = 1;')
    client = daemon.client(single_connection_client=True)
    tokens = [fetch(client, f"k{i}")[2] for i in range(3)]
    with pytest.raises(redis.ResponseError, match="limits.leases"):
        fetch(client, "k3")
    # By another connection of the same worker: the first one holds two from then on.
    assert fill(daemon.client(), "k0", tokens[0], "v") == 1
    assert fetch(client, "k3")[2] is not None


def test_tags_of_set_and_fill(one):
    one.execute_command("SET", "a", "1", "EX", 100, "TAGS", 2, "red", "blue")
    one.execute_command("SET", "b", "1", "NX", "TAGS", 1, "blue")
    fill(one, "c", fetch(one, "c")[2], "1", "TAGS", 1, "green")
    one.set("d", "1")
    one.execute_command("CACHETASTIC.PURGE", "TAG", "blue")
    assert one.mget("a", "b", "c", "d") == [None, None, b"1", b"1"]
    one.execute_command("SET", "a", "1", "TAGS", 1, "red")
    one.execute_command("CACHETASTIC.PURGE", "TAG", "red", "green")
    assert one.mget("a", "c", "d") == [None, None, b"1"]


def test_fetch_through_redis(daemons, redis_server):
    """What Redis has nobody computes; what is filled goes there, once for two hosts."""
    a = daemons("--workers", "2", "--redis", redis_server.address).client(single_connection_client=True)
    b = daemons("--workers", "2", "--redis", redis_server.address).client(single_connection_client=True)
    redis_server.client().set("cachetastic:there", "v", px=60000)
    state, value, token, ms = fetch(a, "there")
    assert (state, value, token) == (b"HIT", b"v", None) and 0 < ms <= 60000
    state, _, token, _ = fetch(a, "k")
    assert state == b"MISS"
    assert fill(a, "k", token, "computed", "PX", 60000) == 1
    assert redis_server.client().get("cachetastic:k") == b"computed"
    assert fetch(b, "k")[:3] == [b"HIT", b"computed", None]


# ---- HTTP ----

ENTRY = "/v1/caches/default/entries/"


def test_http_miss_fill_hit_stale_fail(daemon):
    status, headers, _ = daemon.http("GET", ENTRY + "k", headers={"Cache-Fetch": "wait=0, lease=20s"})
    token = headers["Cache-Lease"]
    assert (status, headers["Cache-Fetch"]) == (404, "miss") and len(token) == 16
    status, headers, _ = daemon.http("GET", ENTRY + "k?fetch&wait=0")
    assert (status, headers["Cache-Fetch"], headers["Cache-Lease"]) == (503, "busy", None)
    assert int(headers["Retry-After"]) >= 1
    status, _, _ = daemon.http("PUT", ENTRY + "k", b"v", {"Cache-Lease": token, "Cache-TTL": "50ms", "Cache-Stale": "1m"})
    assert status == 204
    assert daemon.http("PUT", ENTRY + "k", b"w", {"Cache-Lease": token})[0] == 409
    time.sleep(0.1)
    status, headers, body = daemon.http("GET", ENTRY + "k", headers={"Cache-Fetch": "stale=1m, wait=0"})
    assert (status, headers["Cache-Fetch"], body) == (200, "stale", b"v")
    token = headers["Cache-Lease"]
    assert daemon.http("DELETE", ENTRY + "k", headers={"Cache-Lease": token, "Cache-Retry": "1m"})[0] == 204
    status, headers, body = daemon.http("GET", ENTRY + "k?fetch&wait=0")
    assert (status, headers["Cache-Fetch"]) == (503, "busy") and 50 <= int(headers["Retry-After"]) <= 60
    assert daemon.http("PUT", ENTRY + "k", b"x")[0] == 204
    status, headers, body = daemon.http("GET", ENTRY + "k", headers={"Cache-Fetch": ""})
    assert (status, headers["Cache-Fetch"], headers["Cache-Lease"], body) == (200, "hit", None, b"x")


def test_http_waits_for_a_resp_client(daemon):
    client = daemon.client(single_connection_client=True)
    token = fetch(client, "k")[2]
    threading.Timer(0.2, lambda: fill(client, "k", token, "v")).start()
    status, headers, body = daemon.http("GET", ENTRY + "k", headers={"Cache-Fetch": "wait=10s"})
    assert (status, headers["Cache-Fetch"], body) == (200, "hit", b"v")


@pytest.mark.parametrize("method, headers, why", [
    ("GET", {"Cache-Fetch": "wait=2m"}, "limits.fetch_wait"),
    ("GET", {"Cache-Fetch": "lease=x"}, "limits.fetch_lease"),
    ("GET", {"Cache-Fetch": "beta=-1"}, "beta"),
    ("GET", {"Cache-Fetch": "soon"}, "Cache-Fetch takes"),
    ("PUT", {"Cache-Lease": "x"}, "Cache-Lease takes"),
    ("PUT", {"Cache-Lease": "1" * 16, "Cache-Stale": "9d"}, "limits.fetch_stale"),
    ("PUT", {"Cache-Lease": "1" * 16, "If-None-Match": "*"}, "no If-Match"),
    ("DELETE", {"Cache-Lease": "1" * 16, "Cache-Retry": "9d"}, "limits.fetch_lease"),
])
def test_http_bad_input_names_its_limit(daemon, method, headers, why):
    status, _, body = daemon.http(method, ENTRY + "k", b"" if method == "PUT" else None, headers)
    assert status == 400 and why in body.decode()
