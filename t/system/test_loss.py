"""Design rule 2: nothing that was overwritten or removed comes back, whatever Redis forgets or runs late."""

import signal
import time

import pytest
import redis

from harness import SLOW, wait_until
from proxy import Proxy

CONFIG = """
workers = 2;
listen = ( {{{{ address = "unix:{{socket}}"; }}}} );
redis: {{{{ server = "{server}"; command_timeout = "300ms"; deadline = "1s"; reconnect_min = "20ms"; {more} }}}};
caches = ( {{{{ name = "default"; memory = "16M"; }}}},
           {{{{ name = "remote"; memory = "16M"; backend = "redis"; resp_db = 1; }}}} );
"""


def start(daemons, address, more=""):
    daemon = daemons(config=CONFIG.format(server=address, more=more))
    wait_until(lambda: daemon.stats()["redis"]["invalidation_confirmed"] is True, 10, "the subscription")
    return daemon


def values(client, keys):
    """What is read now; nothing where the backend is Redis alone and that is down."""
    try:
        return client.mget(keys)
    except redis.exceptions.ResponseError as error:
        assert "Redis" in str(error)
        return []


def restart_from_the_file(server):
    server.stop(signal.SIGKILL)
    server.start()


@pytest.mark.parametrize("db", [0, 1])
def test_acknowledged_writes_that_redis_lost(daemons, redis_server, db):
    """Redis comes back with an older file. Its old values are never read, by the daemon that wrote or by another."""
    a, b = start(daemons, redis_server.address), start(daemons, redis_server.address)
    prefix = "cachetastic:" if db == 0 else "cachetastic:@remote:"
    keys = [f"k{i}" for i in range(60)]
    a.client(db=db).mset({key: "old" for key in keys})
    redis_server.client().save()
    writer = a.client(db=db)
    for key in keys[:20]:
        writer.set(key, "new")
    for key in keys[20:40]:
        writer.delete(key)
    for key in keys[40:]:
        writer.append(key, "er")
    restart_from_the_file(redis_server)
    assert redis_server.client().get(prefix + "k0") == b"old", "the server must come back with its older data"
    seen = set()
    until = time.monotonic() + 2
    while time.monotonic() < until:
        for daemon in (a, b):
            seen.update(values(daemon.client(db=db), keys))
    assert b"old" not in seen
    wait_until(lambda: a.stats()["redis"]["journal"] == 0, 10, "the replay")
    assert a.stats()["redis"]["doubts"] >= 1
    assert not any(redis_server.client().mget([prefix + key for key in keys]))
    # And everything is as before.
    writer.set("after", "1")
    assert redis_server.client().get(prefix + "after") == b"1"
    wait_until(lambda: b.client(db=db).get("after") == b"1", 5, "the other reading Redis again")


def test_a_clear_and_a_purge_that_redis_lost(daemons, redis_server):
    a = start(daemons, redis_server.address)
    a.client(db=0).mset({f"k{i}": "old" for i in range(20)})
    a.client(db=1).mset({f"k{i}": "old" for i in range(20)})
    redis_server.client().save()
    a.client(db=0).flushdb()
    assert a.client(db=1).execute_command("CACHETASTIC.PURGE", "PATTERN", "k1*") == 11
    restart_from_the_file(redis_server)
    for _ in range(50):
        for db in (0, 1):
            assert not any(values(a.client(db=db), ["k1"]))
        time.sleep(0.01)
    wait_until(lambda: redis_server.client().dbsize() == 0, 10, "both caches being cleared in Redis")


def test_what_is_older_than_the_window_is_believed(daemons, redis_server):
    """The window bounds what a restart costs: older keys stay in Redis."""
    a = start(daemons, redis_server.address, 'loss_window = "500ms";')
    a.client().set("k", "v")
    assert a.stats()["redis"]["loss_window"] == 1
    redis_server.client().save()
    wait_until(lambda: a.stats()["redis"]["loss_window"] == 0, 10, "the window passing")
    restart_from_the_file(redis_server)
    wait_until(lambda: a.client(db=1).set("x", "1") and redis_server.client().get("cachetastic:@remote:x"), 10,
               "Redis being used again")
    assert redis_server.client().get("cachetastic:k") == b"v"


def test_without_a_window_redis_is_believed(daemons, redis_server):
    """The counter-proof: the same restart brings the old value back."""
    a = start(daemons, redis_server.address, 'loss_window = "0";')
    a.client(db=1).set("k", "old")
    redis_server.client().save()
    a.client(db=1).set("k", "new")
    restart_from_the_file(redis_server)
    wait_until(lambda: a.client(db=1).get("k") == b"old", 10, "the old value coming back")


def test_a_late_command_does_not_run_after_the_replay(daemons, redis_server):
    """A SET that was given up still stands in a connection's way to the server. The server is told to end that
    connection before the key is removed and read again."""
    proxy = Proxy(redis_server.port)
    try:
        a = start(daemons, proxy.address)
        client = a.client(db=1)
        client.set("k", "first")
        proxy.hold(request=b"late-value")
        with pytest.raises(Exception, match="Redis"):
            client.set("k", "late-value")
        assert proxy.held.is_set()
        assert a.stats()["redis"]["journal"] == 1
        wait_until(lambda: a.stats()["redis"]["journal"] == 0, 10 * SLOW, "the replay")
        assert redis_server.client().get("cachetastic:@remote:k") is None
        proxy.release()
        time.sleep(0.3)
        assert redis_server.client().get("cachetastic:@remote:k") is None
        assert client.get("k") is None
        assert a.stats()["redis"]["suspects"] == 0
        assert redis_server.client().info("commandstats")["cmdstat_client|kill"]["calls"] >= 1
    finally:
        proxy.close()


def test_a_server_that_slept_runs_nothing_late(daemons, redis_server):
    a = start(daemons, redis_server.address)
    a.client().mset({f"k{i}": "old" for i in range(50)})
    redis_server.process.send_signal(signal.SIGSTOP)
    for i in range(50):
        a.client().set(f"k{i}", "new")
    redis_server.process.send_signal(signal.SIGCONT)
    wait_until(lambda: a.stats()["redis"]["journal"] == 0, 10, "the replay")
    assert not any(redis_server.client().mget([f"cachetastic:k{i}" for i in range(50)]))
    assert a.client().mget([f"k{i}" for i in range(50)]) == [b"new"] * 50
