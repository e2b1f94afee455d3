"""MULTI, EXEC and WATCH on a memory cache, over several workers: what a Redis client could see of them."""

import multiprocessing
import time

import pytest
import redis

import resp
from harness import SLOW, wait_until

ACCOUNTS = [f"account:{i}" for i in range(6)]
TOTAL = 600


def on_worker(daemon, worker):
    """A client whose connection is served by the given worker: the slot is in the low bits of the id."""
    others = []  # kept open: a new connection goes to the worker that has fewer
    for _ in range(64):
        client = daemon.client(single_connection_client=True)
        if client.info("server")["worker"] == worker:
            return client
        others.append(client)
    raise AssertionError(f"no connection came to worker {worker}")


def error_of(call, *args):
    with pytest.raises(redis.ResponseError) as caught:
        call(*args)
    return str(caught.value)


def test_the_queue_and_its_errors(daemon):
    c = daemon.client(single_connection_client=True)
    run = c.execute_command
    assert "EXEC without MULTI" in error_of(run, "EXEC")
    assert "DISCARD without MULTI" in error_of(run, "DISCARD")
    assert run("MULTI") in (b"OK", True)
    assert "can not be nested" in error_of(run, "MULTI")
    assert "WATCH inside MULTI" in error_of(run, "WATCH", "k")
    assert run("DISCARD") in (b"OK", True)
    with resp.Connection(daemon.connect()) as raw:
        for words, answer in ((["MULTI"], b"+OK"), (["SET", "k", "v"], b"+QUEUED"), (["DISCARD"], b"+OK"),
                              (["EXISTS", "k"], b":0"), (["MULTI"], b"+OK"),
                              (["NOSUCH"], b"-ERR unknown command 'NOSUCH'"), (["SET", "k", "v"], b"+QUEUED"),
                              (["EXEC"], b"-EXECABORT Transaction discarded because of previous errors."),
                              (["EXISTS", "k"], b":0"), (["MULTI"], b"+OK"),
                              (["GET"], b"-ERR wrong number of arguments for 'get' command"),
                              (["EXEC"], b"-EXECABORT"), (["MULTI"], b"+OK"),
                              (["KEYS", "*"], b"-ERR Command not allowed inside a transaction"),
                              (["EXEC"], b"-EXECABORT"), (["MULTI"], b"+OK"), (["EXEC"], b"*0")):
            raw.send(*words)
            assert raw.line().startswith(answer), words


def test_an_error_inside_exec_does_not_stop_the_rest(daemon):
    c = daemon.client()
    p = c.pipeline()
    p.set("text", "abc").incr("text").set("after", "1").incrbyfloat("text", 1).get("after")
    results = p.execute(raise_on_error=False)
    assert results[0] is True and results[2] is True and results[4] == b"1"
    assert "not an integer" in str(results[1])
    assert "not a valid float" in str(results[3])


def test_watch_sees_every_change_of_its_key(daemon):
    mine, other = on_worker(daemon, 0), on_worker(daemon, 1)

    def overwrite():
        other.set("k", "v")  # the same value: in place

    def replace():
        other.set("k", "another, longer")

    def away_and_back():
        other.delete("k")
        other.set("k", "v")

    changes = [overwrite, replace, away_and_back, lambda: other.delete("k"), lambda: other.expire("k", 100),
               lambda: other.append("k", "x"), lambda: other.flushdb(), lambda: other.rename("k", "k2"),
               lambda: other.execute_command("CACHETASTIC.PURGE", "PATTERN", "k*"), lambda: mine.set("k", "own")]
    for change in changes:
        mine.set("k", "v")
        with mine.pipeline() as p:
            p.watch("k")
            change()
            p.multi()
            p.set("won", "no")
            with pytest.raises(redis.WatchError):
                p.execute()
        assert mine.get("won") is None, change
    # One that appears.
    with mine.pipeline() as p:
        p.watch("absent")
        other.set("absent", "1")
        p.multi()
        p.set("won", "no")
        with pytest.raises(redis.WatchError):
            p.execute()
    # One that expires.
    mine.set("short", "v", px=30)
    with mine.pipeline() as p:
        p.watch("short")
        wait_until(lambda: other.get("short") is None, what="the expiry")
        p.multi()
        p.set("won", "no")
        with pytest.raises(redis.WatchError):
            p.execute()


def test_watch_lets_through_what_nobody_touched(daemon):
    mine = daemon.client()
    mine.set("k", "v")
    with mine.pipeline() as p:
        p.watch("k", "absent")
        assert p.get("k") == b"v"
        p.multi()
        p.set("k", "w")
        assert p.execute() == [True]
    with mine.pipeline() as p:
        p.watch("k")
        mine.set("k", "x")
        p.unwatch()
        p.multi()
        p.set("k", "y")
        assert p.execute() == [True]


def transfer(path, until, seed):
    client = redis.Redis(unix_socket_path=path)
    moved = 0
    while time.monotonic() < until:
        a, b = ACCOUNTS[(seed + moved) % 6], ACCOUNTS[(seed + 3 * moved + 1) % 6]
        p = client.pipeline()
        p.decrby(a, 1).incrby(b, 1).mget(ACCOUNTS)
        assert sum(map(int, p.execute()[2])) == TOTAL
        moved += 1
    return moved


def observe(path, until):
    """How often something half done was seen."""
    client = redis.Redis(unix_socket_path=path)
    torn = 0
    while time.monotonic() < until:
        torn += sum(map(int, client.mget(ACCOUNTS))) != TOTAL
    return torn


def count_up(path, rounds):
    client = redis.Redis(unix_socket_path=path)
    with client.pipeline() as p:
        for _ in range(rounds):
            while True:
                try:
                    p.watch("counter")
                    n = int(p.get("counter") or 0)
                    p.multi()
                    p.set("counter", n + 1)
                    p.execute()
                    break
                except redis.WatchError:
                    continue
    return rounds


def test_nobody_sees_half_of_a_transaction(daemon):
    c = daemon.client()
    c.mset({account: TOTAL // len(ACCOUNTS) for account in ACCOUNTS})
    until = time.monotonic() + 3
    with multiprocessing.get_context("fork").Pool(9) as pool:
        moved = [pool.apply_async(transfer, (str(daemon.socket), until, seed)) for seed in range(4)]
        torn = [pool.apply_async(observe, (str(daemon.socket), until)) for _ in range(2)]
        counted = [pool.apply_async(count_up, (str(daemon.socket), 150)) for _ in range(3)]
        assert sum(r.get(60 * SLOW) for r in moved) > 50
        assert [r.get(60 * SLOW) for r in torn] == [0, 0]
        assert sum(r.get(60 * SLOW) for r in counted) == int(c.get("counter"))
    assert sum(map(int, c.mget(ACCOUNTS))) == TOTAL
    daemon.check()


def set_pair(path, until, value):
    client = redis.Redis(unix_socket_path=path)
    while time.monotonic() < until:
        client.mset({"left": value, "right": value})


def test_mset_and_msetnx_are_one(daemon):
    c = daemon.client()
    c.mset({"left": "0", "right": "0"})
    until = time.monotonic() + 1.5
    with multiprocessing.get_context("fork").Pool(4) as pool:
        writers = [pool.apply_async(set_pair, (str(daemon.socket), until, value)) for value in "abc"]
        while time.monotonic() < until:
            left, right = c.mget("left", "right")
            assert left == right
        for writer in writers:
            writer.get(30 * SLOW)
    assert c.msetnx({"left": "n", "new": "n"}) is False
    assert c.get("new") is None
    assert c.msetnx({"new": "n", "newer": "n"}) is True


def test_what_is_queued_and_watched_is_limited(daemons):
    daemon = daemons(config="""
        listen = ( {{ address = "unix:{socket}"; }} );
        caches = ( {{ name = "default"; memory = "32M"; }} );
        limits = {{ transaction = "10K"; }};
    """)
    c = daemon.client(single_connection_client=True)
    c.execute_command("MULTI")
    c.execute_command("SET", "k", "v" * 8000)
    assert "limits.transaction (10240 bytes)" in error_of(c.execute_command, "SET", "k2", "v" * 8000)
    with pytest.raises(redis.exceptions.ExecAbortError):
        c.execute_command("EXEC")
    assert c.get("k") is None
    assert "limits.transaction" in error_of(c.execute_command, "WATCH", *[f"{i:0900}" for i in range(20)])


def test_select_inside_multi(daemon):
    c = daemon.client(single_connection_client=True)
    p = c.pipeline()
    p.execute_command("SELECT", 3)
    p.set("k", "three")
    p.execute_command("SELECT", 0)
    p.get("k")
    assert p.execute()[1::2] == [True, None]
    assert daemon.client(db=3).get("k") == b"three"


def test_a_transaction_on_a_memory_cache_ends_at_redis(daemons, redis_server):
    """What begins on a cache in memory cannot go on in Redis; what begins there is Redis' (test_pass_through.py)."""
    daemon = daemons(config=f'workers = 1; redis = {{{{ server = "127.0.0.1:{redis_server.port}"; }}}}; '
                            'listen = ( {{ address = "unix:{socket}"; cache = "here"; }} ); '
                            'caches = ( {{ name = "here"; memory = "8M"; backend = "memory"; }} );')
    c = daemon.client(single_connection_client=True)
    c.execute_command("MULTI")
    c.execute_command("CACHETASTIC.USE", "default")
    c.execute_command("SET", "k", "v")
    reply = c.execute_command("EXEC")
    assert "decided by Redis" in str(reply[1])
    assert redis_server.client().keys("*") == []
