"""SUBSCRIBE cachetastic.cache.*: an event an operation, from every worker and every front door."""

import json
import os
import signal
import time

import pytest
import redis

from fetch_storm import command, reply
from harness import SLOW, wait_until


def subscribe(daemon, *words):
    stream = daemon.connect().makefile("rwb")
    return stream, command(stream, *words)


def events(stream, n):
    """The next n events: (channel, the JSON)."""
    out = []
    for _ in range(n):
        message = reply(stream)
        out.append((message[-2].decode(), json.loads(message[-1])))
    return out


def clients_of_both_workers(daemon):
    clients = {}
    for _ in range(16):
        client = daemon.client(single_connection_client=True)
        clients.setdefault(client.info("server")["worker"], client)
    assert len(clients) == 2
    return clients


def test_every_operation_from_both_workers(daemon):
    clients = clients_of_both_workers(daemon)
    stream, confirmed = subscribe(daemon, "PSUBSCRIBE", "cachetastic.cache.*")
    assert confirmed == [b"psubscribe", b"cachetastic.cache.*", 1]
    for worker, client in clients.items():
        client.get("k")
        client.set("k", "v")
        client.get("k")
        client.delete("k")
        client.execute_command("CACHETASTIC.FETCH", "f")
        client.execute_command("CACHETASTIC.PURGE", "PATTERN", "user:*")
        client.flushdb()
        seen = events(stream, 7)
        assert [(channel.rsplit(".", 1)[1], event["metadata"]["result"], event["metadata"]["key"]) for channel, event in seen] == [
            ("get", "miss", "k"), ("put", "ok", "k"), ("get", "hit", "k"), ("delete", "ok", "k"), ("fetch", "miss", "f"),
            ("delete_pattern", "ok", "user:*"), ("clear", "ok", "")]
        for channel, event in seen:
            assert event["event"] == channel
            assert 0 < event["measurements"]["duration"] < 10 ** 10
            assert event["metadata"]["cache"] == "default" and event["metadata"]["backend"] == "memory"
            assert event["metadata"]["worker"] == worker


def test_http_comes_too_and_channels_are_exact(daemon):
    stream, _ = subscribe(daemon, "SUBSCRIBE", "cachetastic.cache.put")
    daemon.http("GET", "/v1/caches/default/entries/k")
    daemon.http("PUT", "/v1/caches/default/entries/a%20b", b"x")
    daemon.client().set(b"\xff\x00", "x")
    seen = events(stream, 2)
    assert seen[0][0] == "cachetastic.cache.put" and seen[0][1]["metadata"]["key"] == "a b"
    assert seen[1][1]["metadata"]["key_b64"] == "/wA="


@pytest.mark.parametrize("protocol", [2, 3])
def test_the_commands(daemon, protocol):
    stream = daemon.connect().makefile("rwb")
    command(stream, "HELLO", protocol)
    with pytest.raises(AssertionError, match="no such channel"):
        command(stream, "SUBSCRIBE", "news")
    with pytest.raises(AssertionError, match="matches no channel"):
        command(stream, "PSUBSCRIBE", "news.*")
    assert command(stream, "SUBSCRIBE", "cachetastic.cache.get", "cachetastic.cache.put") == [
        b"subscribe", b"cachetastic.cache.get", 1]
    assert reply(stream) == [b"subscribe", b"cachetastic.cache.put", 2]
    if protocol == 2:
        with pytest.raises(AssertionError, match="Can't execute 'set'"):
            command(stream, "SET", "k", "v")
        assert command(stream, "PING") == [b"pong", b""]
    else:
        assert command(stream, "PING") == b"PONG"
    assert command(stream, "UNSUBSCRIBE", "cachetastic.cache.get") == [b"unsubscribe", b"cachetastic.cache.get", 1]
    assert command(stream, "UNSUBSCRIBE") == [b"unsubscribe", b"cachetastic.cache.put", 0]
    assert command(stream, "UNSUBSCRIBE") == [b"unsubscribe", None, 0]
    assert command(stream, "PUNSUBSCRIBE") == [b"punsubscribe", None, 0]
    assert command(stream, "SET", "k", "v") == b"OK"


def test_redis_py_pubsub(daemon):
    pubsub = daemon.client().pubsub()
    pubsub.psubscribe("cachetastic.cache.g*")
    assert wait_until(pubsub.get_message, 10, "the confirmation")["type"] == "psubscribe"
    daemon.client().get("k")
    message = wait_until(pubsub.get_message, 10, "the event")
    assert message["channel"] == b"cachetastic.cache.get" and json.loads(message["data"])["metadata"]["key"] == "k"
    pubsub.close()


def test_fallback_when_redis_is_down(daemons, redis_server):
    daemon = daemons("--workers", "1", "--redis", redis_server.address)
    stream, _ = subscribe(daemon, "SUBSCRIBE", "cachetastic.cache.fallback")
    redis_server.stop(signal.SIGKILL)
    daemon.client().set("k", "v")
    channel, event = events(stream, 1)[0]
    assert event["metadata"]["key"] == "k" and event["metadata"]["backend"] == "layered"


def test_nobody_listens_any_more_after_the_last_one_left(daemon):
    stream, _ = subscribe(daemon, "PSUBSCRIBE", "*")
    daemon.client().set("k", "v")
    events(stream, 1)
    stream.close()
    # A worker that dies with its subscribers leaves none behind either: the ring is not filled.
    other, _ = subscribe(daemon, "PSUBSCRIBE", "*")
    for pid in daemon.worker_pids():
        os.kill(pid, signal.SIGKILL)
    wait_until(daemon.serves, 20, "new workers")
    third, _ = subscribe(daemon, "SUBSCRIBE", "cachetastic.cache.delete")
    wait_until(lambda: daemon.client().delete("k") or True, 5, "a delete")
    assert events(third, 1)[0][1]["metadata"]["key"] == "k"


def test_a_subscriber_that_does_not_read_is_dropped_and_slows_nobody(daemons):
    daemon = daemons(config='limits = {{ output = "64K"; }}; workers = 1; listen = ( {{ address = "unix:{socket}"; }} );')
    stream, _ = subscribe(daemon, "PSUBSCRIBE", "*")
    client = daemon.client(single_connection_client=True)

    def dropped():
        pipeline = client.pipeline(transaction=False)
        for _ in range(1000):
            pipeline.get("x" * 200)
        pipeline.execute()
        return "does not read its events" in daemon.log.read_text()

    wait_until(dropped, 30, "the slow subscriber dropped")
    assert client.ping()
