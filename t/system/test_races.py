"""Design rule 1 with Redis behind: an answer of Redis is held back while the key is overwritten, removed, cleared,
banned or purged by its tag. The late fill is refused, and L1 agrees with Redis afterwards."""

import threading

import pytest

from harness import wait_until
from proxy import Proxy

CONFIG = """
workers = {workers};
listen = ( {{{{ address = "unix:{{socket}}"; }}}} );
redis: {{{{ server = "{server}"; {more} }}}};
caches = ( {{{{ name = "default"; memory = "16M"; }}}} );
"""


def start(daemons, address, more="", workers=1):
    daemon = daemons(config=CONFIG.format(server=address, more=more, workers=workers))
    wait_until(lambda: daemon.stats()["redis"]["invalidation_confirmed"] is True, 10, "the subscription")
    return daemon


def warm(daemon):
    """Its worker has several connections to Redis, so that nothing else stands behind an answer held back."""
    def grown():
        misses = daemon.client(single_connection_client=True).pipeline(transaction=False)
        for i in range(50):
            misses.get(f"none{i}")
        misses.execute()
        return daemon.stats()["redis"]["pool"]["connected"] >= 2
    wait_until(grown, 10, "the pools growing")


@pytest.fixture
def held(daemons, redis_server):
    """A daemon behind a proxy, one that is not, and the proxy."""
    proxy = Proxy(redis_server.port)
    yield start(daemons, proxy.address), start(daemons, redis_server.address), proxy
    proxy.close()


EVENTS = {
    "overwritten": (lambda client: client.set("k", "newer"), b"newer"),
    "removed": (lambda client: client.delete("k"), None),
    "cleared": (lambda client: client.flushdb(), None),
    "banned": (lambda client: client.execute_command("CACHETASTIC.PURGE", "PATTERN", "k*"), None),
    "purged": (lambda client: client.execute_command("CACHETASTIC.PURGE", "TAG", "red"), None),
    "appended": (lambda client: client.append("k", "!"), b"older-value!"),
}


def late_read(daemon, proxy, between):
    """A GET whose answer is held back while between() runs; what it was told."""
    warm(daemon)
    proxy.hold(reply=b"older-value")
    reader = daemon.connect()
    reader.sendall(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n")
    assert proxy.held.wait(5)
    between()
    proxy.release()
    reader.recv(1000)


@pytest.mark.parametrize("where", ["here", "there"])
@pytest.mark.parametrize("event", EVENTS)
def test_a_late_fill_is_refused(held, redis_server, event, where):
    near, far, proxy = held
    change, expected = EVENTS[event]
    tags = ("TAGS", 1, "red") if event == "purged" else ()
    far.client().execute_command("SET", "k", "older-value", *tags)

    def between():
        who, other = (near, far) if where == "here" else (far, near)
        before = other.stats()["caches"]["default"]["invalidations"]
        change(who.client())
        wait_until(lambda: other.stats()["caches"]["default"]["invalidations"] > before, 5, "the message")
    late_read(near, proxy, between)
    for _ in range(5):
        assert [daemon.client().get("k") for daemon in (near, far)] == [expected, expected]
    if event != "purged":  # there the value stays, and its tag is gone
        assert redis_server.client().get("cachetastic:k") == expected


def test_a_strangers_write_refuses_it_too(daemons, redis_server):
    proxy = Proxy(redis_server.port)
    try:
        daemon = start(daemons, proxy.address, "tracking = true;")
        redis_server.client().set("cachetastic:k", "older-value")

        def between():
            before = daemon.stats()["caches"]["default"]["invalidations"]
            redis_server.client().set("cachetastic:k", "newer")
            wait_until(lambda: daemon.stats()["caches"]["default"]["invalidations"] > before, 5, "the report")
        late_read(daemon, proxy, between)
        for _ in range(5):
            assert daemon.client().get("k") == b"newer"
    finally:
        proxy.close()


@pytest.mark.parametrize("hosts", [1, 2])
def test_overlapping_puts_leave_l1_and_redis_of_one_mind(daemons, redis_server, hosts):
    """Two writers of one key at once, on two workers of a machine or on two machines, many times over."""
    nodes = [start(daemons, redis_server.address, workers=2) for _ in range(hosts)]
    barrier = threading.Barrier(2)

    def write(number):
        client = nodes[number % hosts].client(single_connection_client=True)
        for i in range(300):
            barrier.wait()
            client.set(f"k{i}", f"{number}")
    writers = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    keys = [f"k{i}" for i in range(300)]
    truth = redis_server.client().mget([f"cachetastic:{key}" for key in keys])
    assert None not in truth and len(set(truth)) == 2, "both must have won now and then"
    for node in nodes:
        wait_until(lambda: node.client().mget(keys) == truth, 2, "L1 agreeing with Redis")
        assert node.client().mget(keys) == truth
