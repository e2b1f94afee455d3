"""SCAN, KEYS, RANDOMKEY, DBSIZE and numbered keyspaces."""

import threading

import pytest
import redis

from harness import SLOW


def test_match_count_type(daemon):
    c = daemon.client()
    for i in range(500):
        c.set(f"user:{i}", i)
        c.set(f"page:{i}", i)
    assert sorted(c.scan_iter()) == sorted(c.keys("*"))
    assert len(set(c.scan_iter("user:*", count=50))) == 500
    assert len(set(c.scan_iter("*[02468]", count=1000))) == 500
    assert len(set(c.scan_iter(_type="string"))) == 1000
    assert list(c.scan_iter(_type="list")) == []
    assert set(c.keys("user:1?")) == {f"user:{i}".encode() for i in range(10, 20)}
    assert c.dbsize() == 1000
    # COUNT bounds the work of one call.
    cursor, keys = c.scan(0, count=10)
    assert cursor != 0 and len(keys) < 100
    for wrong in (["SCAN", "x"], ["SCAN", "-1"], ["SCAN", "4398046511104"], ["SCAN", "0", "COUNT", "0"],
                  ["SCAN", "0", "MATCH"], ["SCAN", "0", "FOO", "1"]):
        with pytest.raises(redis.ResponseError):
            c.execute_command(*wrong)


def test_expired_and_removed_keys_are_not_found(daemon):
    c = daemon.client()
    c.set("gone", "x", px=1)
    c.set("removed", "x")
    c.delete("removed")
    c.set("here", "x")
    c.set("banned", "x")
    c.execute_command("CACHETASTIC.PURGE", "PATTERN", "ban*")
    while c.get("gone") is not None:
        pass
    assert list(c.scan_iter()) == [b"here"]
    assert c.keys("*") == [b"here"]
    assert c.randomkey() == b"here"
    c.flushdb()
    assert c.randomkey() is None
    assert list(c.scan_iter()) == []


def test_nothing_present_throughout_is_missed(daemons):
    """Full scans while the index grows by thousands of keys and shrinks again. Keys that stay are seen by each."""
    daemon = daemons("--workers", "2", "--memory", "64M")
    c = daemon.client()
    stay = {f"stay:{i}".encode() for i in range(2000)}
    with c.pipeline(transaction=False) as p:
        for key in stay:
            p.set(key, "x")
        p.execute()
    over = threading.Event()
    rounds = []

    def churn():
        own = daemon.client()
        n = 0
        while not over.is_set():
            p = own.pipeline(transaction=False)
            for i in range(40000):
                p.set(f"come:{n}:{i}", "x" * 20)
                if i % 2000 == 1999:
                    p.execute()
                    if over.is_set():
                        break
            for i in range(40000):
                p.delete(f"come:{n}:{i}")
                if i % 2000 == 1999:
                    p.execute()
                    if over.is_set():
                        break
            n += 1
        rounds.append(n)

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        sizes = set()
        for count in (10, 100, 7, 1000, 33, 500):
            seen = set()
            cursor = None
            while cursor != 0:
                cursor, keys = c.scan(cursor or 0, count=count if count > 50 else count * 20)
                seen.update(keys)
            assert stay <= seen, f"{len(stay - seen)} keys were missed"
            sizes.add(len(seen))
        assert len(sizes) > 1  # something did come and go
    finally:
        over.set()
        thread.join(60 * SLOW)
    assert stay <= set(c.keys("stay:*"))
    daemon.check()


def test_numbered_keyspaces_are_apart(daemon):
    own, one, fifteen = daemon.client(), daemon.client(db=1), daemon.client(db=15)
    for n, c in enumerate((own, one, fifteen)):
        c.mset({"k": n, f"only:{n}": n})
    for n, c in enumerate((own, one, fifteen)):
        assert c.get("k") == str(n).encode()
        assert c.dbsize() == 2
        assert set(c.keys("*")) == set(c.scan_iter()) == {b"k", f"only:{n}".encode()}
        assert c.randomkey() in (b"k", f"only:{n}".encode())
    # Keys that look like another keyspace's are not.
    own.set(b"\0\1k", "trick")
    own.set(b"\0", "zero")
    assert one.get("k") == b"1"
    assert own.get(b"\0\1k") == b"trick" and own.get(b"\0") == b"zero"
    assert set(own.keys("*")) == {b"k", b"only:0", b"\0\1k", b"\0"}
    # FLUSHDB takes one of them only.
    one.flushdb()
    assert one.dbsize() == 0 and one.get("k") is None
    assert own.dbsize() == 4 and fifteen.dbsize() == 2
    own.flushdb()
    assert own.dbsize() == 0 and own.get(b"\0\1k") is None and own.get(b"\0") is None
    assert fifteen.get("k") == b"2"
    one.set("k", "again")
    assert one.get("k") == b"again"
    # FLUSHALL takes all of this cache.
    own.flushall()
    assert [c.dbsize() for c in (own, one, fifteen)] == [0, 0, 0]
    with pytest.raises(redis.ResponseError, match="DB index is out of range"):
        daemon.client(db=16).get("k")


def test_every_command_finds_its_keys_in_a_keyspace(daemon):
    own, two = daemon.client(), daemon.client(db=2)
    two.mset({"a": "1", "b": "2"})
    two.rename("a", "c")
    two.copy("b", "d")
    assert two.incr("c") == 2
    assert two.mget("a", "b", "c", "d") == [None, b"2", b"2", b"2"]
    assert two.delete("b", "d") == 2
    lock = two.lock("lock", timeout=10)
    assert lock.acquire() and two.exists("lock") == 1
    lock.release()
    assert two.msetnx({"c": "x"}) is False
    assert two.expire("c", 100) is True and 90 < two.ttl("c") <= 100
    assert two.object("encoding", "c") == b"int"
    assert own.dbsize() == 0


def test_keyspaces_and_named_caches(daemons):
    daemon = daemons(config="""
        listen = ( {{ address = "unix:{socket}"; }} );
        caches = ( {{ name = "default"; memory = "16M"; }},
                   {{ name = "sessions"; memory = "16M"; resp_db = 1; }} );
        databases = 4;
    """)
    own, sessions, two = daemon.client(), daemon.client(db=1), daemon.client(db=2)
    for c in (own, sessions, two):
        c.set("k", c.connection_pool.connection_kwargs["db"])
    assert daemon.cache("sessions").get("k") == b"1"
    assert daemon.cache("default").get("k") == b"0"
    own.flushall()  # this cache only
    assert own.get("k") is None and two.get("k") is None and sessions.get("k") == b"1"
    with pytest.raises(redis.ResponseError, match="databases = 4"):
        daemon.client(db=4).get("k")
