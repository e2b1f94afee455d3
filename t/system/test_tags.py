"""Tags on caches with Redis behind: one purge, in both layers and on every node."""

import pytest
import redis

from harness import wait_until
from proxy import Proxy

CONFIG = """
workers = 2;
listen = ( {{{{ address = "unix:{{socket}}"; }}}} );
redis: {{{{ server = "{server}"; command_timeout = "300ms"; deadline = "1s"; reconnect_min = "20ms"; }}}};
caches = ( {{{{ name = "default"; memory = "16M"; }}}},
           {{{{ name = "remote"; memory = "16M"; backend = "redis"; resp_db = 1; }}}},
           {{{{ name = "shop"; memory = "16M"; redis_prefix = "shop"; resp_db = 2; }}}} );
"""


def start(daemons, address):
    daemon = daemons(config=CONFIG.format(server=address))
    wait_until(lambda: daemon.stats()["redis"]["invalidation_confirmed"] is True, 10, "the subscription")
    return daemon


@pytest.fixture
def pair(daemons, redis_server):
    return start(daemons, redis_server.address), start(daemons, redis_server.address)


def put(client, key, value, *tags):
    assert client.execute_command("SET", key, value, "TAGS", len(tags), *tags) in (True, b"OK")


def purge(client, tag):
    return client.execute_command("CACHETASTIC.PURGE", "TAG", tag)


@pytest.mark.parametrize("db", [0, 1, 2])
def test_a_purge_reaches_both_layers_and_both_nodes(pair, redis_server, db):
    a, b = (daemon.client(db=db) for daemon in pair)
    put(a, "k1", "v1", "red", "blue")
    put(a, "k2", "v2", "blue")
    a.set("k3", "v3")
    for client in (a, b, b):
        assert client.mget("k1", "k2", "k3") == [b"v1", b"v2", b"v3"]
    purge(b, "red")
    wait_until(lambda: a.get("k1") is None and b.get("k1") is None, 1, "the purge")
    for client in (a, b):
        assert client.mget("k1", "k2", "k3") == [None, b"v2", b"v3"]
    put(b, "k1", "again", "red", "blue")
    assert (a.get("k1"), b.get("k1")) == (b"again", b"again")
    purge(a, "blue")
    wait_until(lambda: b.get("k1") is None, 1, "the purge")
    for client in (a, b):
        assert client.mget("k1", "k2", "k3") == [None, None, b"v3"]


def test_a_tag_that_redis_lost_is_a_miss(pair, redis_server):
    a, b = (daemon.client() for daemon in pair)
    put(a, "k", "v", "red")
    stranger = redis_server.client()
    assert stranger.get("cachetastic:@:default:red") is not None
    stranger.delete("cachetastic:@:default:red")
    assert b.get("k") is None
    stranger.set("cachetastic:@:default:red", "not ours")
    assert b.get("k") is None
    put(a, "k", "w", "red")
    assert stranger.get("cachetastic:@:default:red") == b"not ours"
    assert b.get("k") is None  # what cannot be checked is not believed
    purge(a, "red")
    put(a, "k", "x", "red")
    assert b.get("k") == b"x"


def test_tags_of_caches_are_their_own(pair):
    clients = [pair[0].client(db=db) for db in range(3)]
    for client in clients:
        put(client, "k", "v", "red")
    purge(clients[1], "red")
    assert [client.get("k") for client in clients] == [b"v", None, b"v"]
    # A clear takes entries, and leaves other caches' tags alone.
    put(clients[1], "k", "v", "red")
    clients[0].flushdb()
    assert [pair[1].client(db=db).get("k") for db in range(3)] == [None, b"v", b"v"]


def test_a_purge_while_redis_is_down_holds(pair, redis_server):
    a, b = (daemon.client() for daemon in pair)
    put(a, "k", "v", "red")
    assert b.get("k") == b"v"
    redis_server.client().save()
    redis_server.stop()
    purge(a, "red")
    assert a.get("k") is None
    redis_server.start()
    wait_until(lambda: redis_server.client().get("cachetastic:k") is None, 15, "the cache being cleared in Redis")
    wait_until(lambda: b.get("k") is None, 5, "the other node hearing of it")


def test_what_was_computed_carries_tags(pair):
    a, b = pair
    holder = a.client(single_connection_client=True)
    state, _, token, _ = holder.execute_command("CACHETASTIC.FETCH", "f")
    assert state == b"MISS"
    assert holder.execute_command("CACHETASTIC.FILL", "f", token, "v", "TAGS", 1, "red") == 1
    assert b.client().get("f") == b"v"
    purge(b.client(), "red")
    wait_until(lambda: a.client().get("f") is None, 1, "the purge")


def test_conditions_with_tags_are_redis_to_decide(pair):
    a, b = (daemon.client() for daemon in pair)
    assert a.execute_command("SET", "k", "v", "NX", "TAGS", 1, "red") in (True, b"OK")
    assert b.execute_command("SET", "k", "w", "NX", "TAGS", 1, "red") is None
    assert b.get("k") == b"v"
    purge(b, "red")
    wait_until(lambda: a.get("k") is None, 1, "the purge")


@pytest.mark.parametrize("purger", [0, 1])
def test_a_late_answer_does_not_outlive_a_purge(daemons, redis_server, purger):
    """The value is read in Redis, then the tag is purged, then the answer arrives: nobody keeps it."""
    proxy = Proxy(redis_server.port)
    try:
        nodes = start(daemons, proxy.address), start(daemons, redis_server.address)
        put(nodes[1].client(), "k", "tagged-value", "red")
        proxy.hold(reply=b"tagged-value")
        reader = nodes[0].connect()
        reader.sendall(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n")
        assert proxy.held.wait(5)
        purge(nodes[purger].client(), "red")
        proxy.release()
        assert reader.recv(100) == b"$-1\r\n"
        for _ in range(5):
            assert [node.client().get("k") for node in nodes] == [None, None]
    finally:
        proxy.close()
