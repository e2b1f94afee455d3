"""An Elixir node and this daemon on one Redis. The node is an imitation of what the library Cachetastic puts on the
wire: SET PREFIX:KEY JSON EX TTL, GET, DEL, KEYS + DEL for a clear, and messages of two actions."""

import json
import threading

import pytest

from harness import wait_until

CONFIG = """
workers = 2;
listen = ( {{{{ address = "unix:{{socket}}"; }}}} );
redis: {{{{ server = "{server}"; }}}};
caches = ( {{{{ name = "default"; memory = "8M"; }}}},
           {{{{ name = "products"; memory = "8M"; redis_prefix = "shop"; resp_db = 1; }}}} );
"""
CHANNEL = "cachetastic:invalidate"


class ElixirNode:
    """Its L1 is a dict that it keeps until it is told otherwise, so a message that does not come shows."""

    def __init__(self, server, cache="products", prefix="shop"):
        self.redis, self.cache, self.prefix = server.client(), cache, prefix
        self.name = "shop@host"
        self.local, self.seen = {}, []
        self.pubsub = server.client().pubsub()
        self.pubsub.subscribe(CHANNEL)
        self.pubsub.get_message(timeout=5)
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        while not self.stopping.is_set():
            message = self.pubsub.get_message(timeout=0.05)
            if message is None or message["type"] != "message":
                continue
            try:
                body = json.loads(message["data"])
                event, sender = {"cache": None, "action": None, **body["event"]}, body["node_id"]
            except (ValueError, TypeError, KeyError, RecursionError):
                continue  # what the tests put there
            if sender == self.name:
                continue
            self.seen.append(body["event"])
            if event["cache"] != self.cache:
                continue
            if event["action"] == "delete":
                self.local.pop(event["key"], None)
            elif event["action"] == "clear":
                self.local.clear()

    def publish(self, event):
        self.redis.publish(CHANNEL, json.dumps({"event": event, "node_id": self.name}, separators=(",", ":")))

    def put(self, key, value, ttl=3600):
        self.redis.set(f"{self.prefix}:{key}", json.dumps(value), ex=ttl)
        self.local[key] = value
        self.publish({"action": "delete", "cache": self.cache, "key": key})

    def get(self, key):
        if key not in self.local:
            stored = self.redis.get(f"{self.prefix}:{key}")
            if stored is None:
                return None
            self.local[key] = json.loads(stored)
        return self.local[key]

    def delete(self, key):
        self.redis.delete(f"{self.prefix}:{key}")
        self.local.pop(key, None)
        self.publish({"action": "delete", "cache": self.cache, "key": key})

    def clear(self):
        keys = self.redis.keys(f"{self.prefix}:*")
        if keys:
            self.redis.delete(*keys)
        self.local.clear()
        self.publish({"action": "clear", "cache": self.cache})

    def stop(self):
        self.stopping.set()
        self.thread.join()


@pytest.fixture
def both(daemons, redis_server):
    daemon = daemons(config=CONFIG.format(server=redis_server.address))
    wait_until(lambda: daemon.stats()["redis"]["invalidation_confirmed"] is True, 10, "the subscription")
    node = ElixirNode(redis_server)
    yield daemon, node
    node.stop()


def test_what_the_node_writes_is_read_here(both):
    daemon, node = both
    client = daemon.client(db=1)
    node.put("1", {"name": "Lampe", "price": 12.5}, ttl=100)
    assert json.loads(client.get("1")) == {"name": "Lampe", "price": 12.5}
    assert 95 <= client.ttl("1") <= 100
    for i in range(20):
        node.put("1", i)
        wait_until(lambda: json.loads(client.get("1")) == i, 1, f"the node's {i}")
    node.delete("1")
    wait_until(lambda: client.get("1") is None, 1, "the node's delete")


def test_what_is_written_here_is_read_by_the_node(both, redis_server):
    daemon, node = both
    client = daemon.client(db=1)
    client.set("k", json.dumps([1, "zwei", None]), ex=60)
    assert redis_server.client().get("shop:k") == b'[1, "zwei", null]'
    assert 55 <= redis_server.client().ttl("shop:k") <= 60
    assert node.get("k") == [1, "zwei", None]
    client.set("k", '"newer"')
    wait_until(lambda: node.get("k") == "newer", 1, "the node hearing of the put")
    client.delete("k")
    wait_until(lambda: node.get("k") is None, 1, "the node hearing of the delete")
    assert {"action": "delete", "cache": "products", "key": "k"} in node.seen


def test_clears_reach_both_and_nobody_else(both, redis_server):
    daemon, node = both
    client = daemon.client(db=1)
    daemon.client().set("k", "default's")
    node.put("a", 1)
    client.set("b", "2")
    assert (client.get("a"), node.get("b")) == (b"1", 2)
    node.clear()
    wait_until(lambda: client.mget("a", "b") == [None, None], 1, "the node's clear")
    client.set("b", "3")
    assert node.get("b") == 3
    assert client.flushdb()
    wait_until(lambda: node.get("b") is None, 1, "the node hearing of the clear")
    assert {"action": "clear", "cache": "products"} in node.seen
    assert redis_server.client().keys() == [b"cachetastic:k"]
    assert daemon.client().get("k") == b"default's"


def test_what_the_node_does_not_know_does_not_disturb_it(both):
    """Our own actions go over the same channel; a library that matches on two ignores them."""
    daemon, node = both
    daemon.client(db=1).execute_command("SET", "k", "1", "TAGS", 1, "red")
    daemon.client(db=1).execute_command("CACHETASTIC.PURGE", "TAG", "red")
    daemon.client(db=1).execute_command("CACHETASTIC.PURGE", "PATTERN", "k*")
    wait_until(lambda: {"pattern", "tag"} <= {event["action"] for event in node.seen}, 2, "our own messages")
    node.put("k", 5)
    wait_until(lambda: daemon.client(db=1).get("k") == b"5", 1, "the node's put")


@pytest.mark.parametrize("message", [
    "", "{", "[]", "null", '{"event":{}}', '{"event":{"action":"delete"},"node_id":"x"}',
    '{"event":{"action":"delete","cache":"products","key":7},"node_id":"x"}',
    '{"event":{"action":"delete","cache":"nowhere","key":"k"},"node_id":"x"}',
    '{"event":{"action":"explode","cache":"products","key":"k"},"node_id":"x"}',
    '{"event":{"action":"tag","cache":"products","key_b64":"!"},"node_id":"x"}', b"\xff\xfe", "[" * 5000],
    ids=range(12))
def test_messages_that_mean_nothing(both, redis_server, message):
    daemon, node = both
    client = daemon.client(db=1)
    client.set("k", "1")
    redis_server.client().publish(CHANNEL, message)
    node.put("k", 2)
    wait_until(lambda: client.get("k") == b"2", 1, "the next message being heard")


@pytest.mark.parametrize("stored", [
    b"\x93CTE", b"\x93CTE\x01", b"\x93CTE\x02\x00\x08\x00v", b"\x93CTE\x01\x01\x08\x00v", b"\x93CTE\x01\x00\xff\xffv",
    b"\x93CTE\x01\x00\x07\x00v", b"\x93CTE\x01\x00\x0b\x00\x04\x00\x00v", b"\x93CTE\x01\x00\x0a\x00\x01\xffv"],
    ids=range(8))
def test_corrupt_envelopes_are_misses(both, redis_server, stored):
    daemon, _ = both
    redis_server.client().set("shop:k", stored)
    assert daemon.client(db=1).get("k") is None
    daemon.client(db=1).set("k", "v")
    assert daemon.client(db=1).get("k") == b"v"


@pytest.mark.parametrize("stored", [b"", b"\x93", b"\x93CT", b"\x00", b'{"a":1}', b"\x83h\x02", b"x" * 100000],
    ids=range(7))
def test_foreign_values_are_read_as_they_are(both, redis_server, stored):
    daemon, _ = both
    redis_server.client().set("shop:k", stored)
    assert daemon.client(db=1).get("k") == stored
    redis_server.client().lpush("shop:list", "not a string")
    with pytest.raises(Exception, match="WRONGTYPE"):
        daemon.client(db=1).get("list")
