"""L1 and L2 together: two daemons on one real Redis, existing clients, outages."""

import json
import subprocess
import threading
import time

import pytest
import redis

from harness import SLOW, wait_until


def pair(daemons, server):
    flags = ("--workers", "2", "--memory", "16M", "--redis", server.address)
    a, b = daemons(*flags), daemons(*flags)
    for daemon in (a, b):
        wait_until(lambda: daemon.stats()["redis"]["invalidation_confirmed"] is True, 10, "the subscription")
    return a, b


def php(code):
    result = subprocess.run(["php", "-d", "display_errors=stderr", "-r", code], capture_output=True, text=True,
                            timeout=30 * SLOW)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_phpredis_writes_on_one_redis_py_reads_on_the_other(daemons, redis_server):
    a, b = pair(daemons, redis_server)
    php(f"""$r = new Redis(); $r->connect('{a.socket}');
            $r->setex('user:1', 60, "Ada\\0\\r\\n"); $r->set('user:2', 'Grace');""")
    reader = b.client()
    assert reader.get("user:1") == b"Ada\0\r\n"
    assert reader.get("user:2") == b"Grace"
    assert 55 <= reader.ttl("user:1") <= 60
    assert php(f"""$r = new Redis(); $r->connect('{a.socket}'); echo $r->del('user:1');""") == "1"
    gone_by = time.monotonic() + 0.1 * SLOW
    while reader.get("user:1") is not None:
        assert time.monotonic() < gone_by, "still there 100 ms after the delete"
    assert reader.get("user:2") == b"Grace"


def test_reads_are_answered_from_l1_after_the_first(daemons, redis_server):
    a, b = pair(daemons, redis_server)
    a.client().set("k", "v")
    for _ in range(10):
        assert b.client().get("k") == b"v"
    stats = b.stats()["caches"]["default"]
    assert stats["l2_hits"] == 1
    assert stats["l1_hits"] == 9


def test_a_put_on_one_replaces_what_the_other_holds(daemons, redis_server):
    a, b = pair(daemons, redis_server)
    for i in range(50):
        a.client().set("k", f"v{i}")
        wait_until(lambda: b.client().get("k") == b"v%d" % i, 1, f"the other daemon reading v{i}")


def test_clear_and_pattern_reach_the_other(daemons, redis_server):
    a, b = pair(daemons, redis_server)
    for name in ("user:1", "user:2", "item:1"):
        a.client().set(name, "x")
        assert b.client().get(name) == b"x"
    assert a.client().execute_command("CACHETASTIC.PURGE", "PATTERN", "user:*") == 2
    wait_until(lambda: b.client().mget("user:1", "user:2") == [None, None], 1, "the purge")
    assert b.client().get("item:1") == b"x"
    redis_server.client().set("stranger", "stays")
    assert a.client().flushdb()
    wait_until(lambda: b.client().get("item:1") is None, 1, "the clear")
    assert redis_server.client().keys() == [b"stranger"]


def test_messages_are_the_elixir_librarys(daemons, redis_server):
    a, b = pair(daemons, redis_server)
    a.client().set("k", "v")
    listener = redis_server.client().pubsub()
    listener.subscribe("cachetastic:invalidate")
    listener.get_message(timeout=5)
    assert b.client().get("k") == b"v"
    a.client().delete("k")

    def next_delete():
        while True:
            message = listener.get_message(timeout=1)
            if message is None:
                return None
            body = json.loads(message["data"])
            if body["event"]["action"] == "delete":
                return body
    body = wait_until(next_delete, 5, "the message")
    assert body["event"] == {"action": "delete", "cache": "default", "key": "k"}
    assert isinstance(body["node_id"], str)
    # And theirs are understood.
    a.client().set("k", "v")
    assert a.client().get("k") == b"v"
    redis_server.client().delete("cachetastic:k")
    redis_server.client().publish("cachetastic:invalidate", json.dumps(
        {"event": {"action": "delete", "cache": "default", "key": "k"}, "node_id": "elixir@host"}))
    wait_until(lambda: a.client().get("k") is None, 1, "the foreign delete")


def test_l1_never_outlives_l2(daemons, redis_server):
    a, b = pair(daemons, redis_server)
    a.client().set("k", "v", px=400)
    assert b.client().get("k") == b"v"
    assert 0 < b.client().pttl("k") <= 400
    wait_until(lambda: redis_server.client().get("cachetastic:k") is None, 2, "Redis' own expiry")
    assert b.client().get("k") is None
    assert a.client().get("k") is None


def test_counters_and_conditions_are_decided_by_redis(daemons, redis_server):
    a, b = pair(daemons, redis_server)
    assert [a.client().incr("n"), b.client().incr("n"), a.client().incrby("n", 5)] == [1, 2, 7]
    assert a.client().set("lock", "a", nx=True) is True
    assert b.client().set("lock", "b", nx=True) is None
    assert b.client().append("lock", "!") == 2
    assert a.client().get("lock") == b"a!"
    assert a.client().getset("lock", "c") == b"a!"
    assert b.client().getdel("lock") == b"c"
    assert a.client().exists("lock") == 0
    assert a.client().persist("n") is False
    assert a.client().expire("n", 100) is True
    wait_until(lambda: 95 <= b.client().ttl("n") <= 100, 1, "the expiry on the other")
    assert a.client().dbsize() == 1


def test_plain_values_in_redis(daemons, redis_server):
    """What we store is what redis-cli sees, and the reverse."""
    daemon = daemons("--workers", "1", "--memory", "16M", "--redis", redis_server.address)
    daemon.client().set("k", b"\x00plain\xff")
    assert redis_server.client().get("cachetastic:k") == b"\x00plain\xff"
    redis_server.client().set("cachetastic:other", "theirs")
    assert daemon.client().get("other") == b"theirs"
    daemon.client().set("@odd", "1")
    assert redis_server.client().get("cachetastic:@@odd") == b"1"


class Load(threading.Thread):
    """Gets and sets until told to stop; remembers every error."""

    def __init__(self, daemon):
        super().__init__()
        self.client = daemon.client()
        self.errors, self.count, self.wrong = [], 0, 0
        self.stopping = threading.Event()

    def run(self):
        while not self.stopping.is_set():
            key = f"load:{self.count % 500}"
            try:
                if self.count % 5 == 0:
                    self.client.set(key, key, ex=60)
                elif self.client.get(key) not in (None, key.encode()):
                    self.wrong += 1
            except redis.exceptions.RedisError as error:
                self.errors.append(repr(error))
            self.count += 1

    def finish(self):
        self.stopping.set()
        self.join()
        return self


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_redis_goes_away_in_the_middle_of_a_load(daemons, redis_server, how):
    daemon = daemons("--workers", "2", "--memory", "16M", "--redis", redis_server.address)
    daemon.client().set("before", "1")
    load = Load(daemon)
    load.start()
    time.sleep(0.5)
    redis_server.stop(9 if how == "killed" else 15)
    time.sleep(1.5)
    # Hits go on, and what is written meanwhile is read back.
    assert daemon.client().set("during", "2")
    assert daemon.client().get("during") == b"2"
    assert daemon.client().get("before") == b"1"
    with pytest.raises(redis.exceptions.RedisError):
        daemon.client().incr("counter")
    counted = load.count
    redis_server.start()
    # L2 is used again, with no restart of ours: a new key arrives there.

    def used_again():
        daemon.client().set("after", "3")
        return redis_server.client().get("cachetastic:after") == b"3"
    wait_until(used_again, 10, "L2 being used again")
    time.sleep(0.5)
    load.finish()
    assert load.count > counted
    assert load.errors == []
    assert load.wrong == 0
    assert daemon.stats()["caches"]["default"]["fallbacks"] > 0


def test_what_was_written_in_an_outage_does_not_resurrect(daemons, redis_server, tmp_path):
    """Redis keeps its data over the outage: the old values of keys written or deleted meanwhile must not come back."""
    redis_server.stop()
    redis_server.options = ("--appendonly", "yes", "--appendfsync", "always")
    redis_server.start()
    a, b = pair(daemons, redis_server)
    a.client().mset({f"k{i}": "old" for i in range(100)})
    assert b.client().get("k0") == b"old"
    redis_server.stop()
    for i in range(50):
        a.client().set(f"k{i}", "new")
    for i in range(50, 100):
        a.client().delete(f"k{i}")
    redis_server.start()
    assert redis_server.client().get("cachetastic:k0") == b"old", "the server must come back with its data"
    wait_until(lambda: a.stats()["redis"]["journal"] == 0, 15, "the journal being replayed")
    for i in range(100):
        assert redis_server.client().get(f"cachetastic:k{i}") is None
        # What was stored here in the outage is stale once messages were lost, and then Redis says that it has none.
        assert a.client().get(f"k{i}") in ((b"new", None) if i < 50 else (None,))
        assert b.client().get(f"k{i}") is None


def test_named_caches_share_a_redis_but_no_key(daemons, redis_server):
    daemon = daemons(config=f"""
        workers = 2;
        listen = ( {{{{ address = "unix:{{socket}}"; }}}}, {{{{ address = "127.0.0.1:{{port}}"; protocol = "http"; }}}} );
        redis: {{{{ server = "{redis_server.address}"; prefix = "app"; }}}};
        caches = ( {{{{ name = "default"; memory = "8M"; }}}},
                   {{{{ name = "sessions"; memory = "8M"; resp_db = 1; }}}},
                   {{{{ name = "local"; memory = "8M"; backend = "memory"; resp_db = 2; }}}},
                   {{{{ name = "remote"; memory = "8M"; backend = "redis"; resp_db = 3; }}}},
                   {{{{ name = "elixir"; memory = "8M"; redis_prefix = "shop"; resp_db = 4; }}}} );
    """)
    for db in range(5):
        daemon.client(db=db).set("k", f"v{db}")
    for db in range(5):
        assert daemon.client(db=db).get("k") == b"v%d" % db
    assert sorted(redis_server.client().keys()) == [b"app:@remote:k", b"app:@sessions:k", b"app:k", b"shop:k"]
    daemon.client(db=0).flushdb()
    assert daemon.client(db=0).get("k") is None
    assert sorted(redis_server.client().keys()) == [b"app:@remote:k", b"app:@sessions:k", b"shop:k"]
    for db in range(1, 5):
        assert daemon.client(db=db).get("k") == b"v%d" % db
