"""With Redis behind: commands that are Redis' own at our socket, and GETs that are never stale because of them."""

import subprocess
import threading
import time

import pytest
import redis

from harness import SLOW, RedisServer, wait_until


@pytest.fixture(params=["prefix", "bare"])
def pair(request, daemons, redis_server):
    """A daemon, with the default prefix of its keys or with none, and its Redis."""
    prefix = "cachetastic:" if request.param == "prefix" else ""
    flags = [] if prefix else ["--redis-prefix", ""]
    daemon = daemons("--workers", "2", "--redis", redis_server.address, *flags)
    return daemon, redis_server.client(), prefix


@pytest.fixture
def client(pair):
    return pair[0].client(single_connection_client=True)


def test_lists_hashes_sets_sorted_sets(pair, client):
    _, behind, prefix = pair
    assert client.rpush("l", "a", "b", "c") == 3 and client.lrange("l", 0, -1) == [b"a", b"b", b"c"]
    assert client.hset("h", mapping={"x": "1", "y": "2"}) == 2 and client.hgetall("h") == {b"x": b"1", b"y": b"2"}
    assert client.sadd("s", "a", "b") == 2 and client.smembers("s") == {b"a", b"b"}
    assert client.zadd("z", {"a": 1, "b": 2.5}) == 2 and client.zrange("z", 0, -1, withscores=True) == [(b"a", 1.0), (b"b", 2.5)]
    assert client.zunionstore("u", ["z", "z"]) == 2 and client.zscore("u", "b") == 5.0
    assert client.xadd("x", {"f": "v"}) and client.xlen("x") == 1
    assert client.xread({"x": "0"})[0][0] == b"x"
    assert client.pfadd("p", "1", "2") == 1 and client.pfcount("p") == 2
    assert client.setbit("b", 7, 1) == 0 and client.get("b") == b"\x01"
    assert client.exists("l", "h", "nothing") == 2 and client.type("z") == b"zset"
    assert client.expire("l", 100) and 0 < client.ttl("l") <= 100 and client.ttl("nothing") == -2 and client.ttl("h") == -1
    assert client.object("encoding", "l") in (b"listpack", b"quicklist", b"ziplist")
    assert behind.lrange(prefix + "l", 0, -1) == [b"a", b"b", b"c"]
    assert {key.decode() for key in behind.keys("*")} == {prefix + key for key in "lhszuxpb"}


def test_a_get_is_never_stale_after_a_write_that_was_passed_on(pair, client):
    """On both workers: each has read the key into L1 before."""
    daemon, _, prefix = pair
    others = [daemon.client(single_connection_client=True) for _ in range(6)]
    client.set("k", "hello")
    for write, expected in [
            (lambda: client.setrange("k", 0, "J"), b"Jello"),
            (lambda: client.append("k", "!"), b"Jello!"),
            (lambda: client.execute_command("SETBIT", "k", 7, 1), b"Kello!"),
            (lambda: client.rename("k", "k2") and client.rename("k2", "k"), b"Kello!"),
            (lambda: client.execute_command("COPY", "other", "k", "REPLACE"), b"copied"),
            (lambda: client.eval("return redis.call('SET', KEYS[1], ARGV[1])", 1, "k", "by script"), b"by script"),
            (lambda: client.eval("return redis.call('SET', ARGV[1], 'unnamed')", 0, prefix + "k"), b"unnamed"),
            (lambda: client.eval("return redis.call('DEL', ARGV[1])", 0, prefix + "k"), None),
            (lambda: client.execute_command("BITOP", "NOT", "k", "nothing"), None),
            (lambda: client.execute_command("MSETNX", "k", "nx", "fresh", "1"), b"nx")]:
        client.set("other", "copied")
        for reader in others:
            reader.get("k")
        write()
        assert [reader.get("k") for reader in others] == [expected] * len(others)
        assert [reader.mget("k") for reader in others] == [[expected]] * len(others)


def test_multi_exec(pair, client):
    daemon, behind, prefix = pair
    other = daemon.client(single_connection_client=True)
    client.set("k", "1")
    assert other.get("k") == b"1"
    pipe = client.pipeline(transaction=True)
    pipe.incr("k").get("k").lpush("list", "x").set("new", "v").lrange("list", 0, -1)
    assert pipe.execute() == [2, b"2", 1, True, [b"x"]]
    assert other.get("k") == b"2" and other.get("new") == b"v"
    assert behind.get(prefix + "k") == b"2"
    client.execute_command("MULTI")
    with pytest.raises(redis.ResponseError, match="not between MULTI and EXEC|nor between MULTI and EXEC"):
        client.execute_command("FLUSHDB")
    with pytest.raises(redis.ResponseError, match="administers Redis"):
        client.execute_command("CONFIG", "GET", "requirepass")
    client.execute_command("SET", "k", "3")
    client.execute_command("DISCARD")
    assert client.get("k") == b"2"
    with pytest.raises(redis.ResponseError, match="EXEC without MULTI"):
        client.execute_command("EXEC")


def test_watch(pair, client):
    daemon, _, _ = pair
    client.set("k", "1")
    with client.pipeline() as pipe:
        pipe.watch("k")
        assert pipe.get("k") == b"1"
        daemon.client().set("k", "2")
        pipe.multi()
        pipe.set("k", "mine")
        with pytest.raises(redis.WatchError):
            pipe.execute()
    with client.pipeline() as pipe:
        pipe.watch("k")
        pipe.multi()
        pipe.set("k", "mine")
        assert pipe.execute() == [True]
    assert daemon.client().get("k") == b"mine"


def test_blocking_commands(pair, client):
    daemon, _, _ = pair
    threading.Timer(0.2, lambda: daemon.client().rpush("queue", "job")).start()
    began = time.monotonic()
    assert client.blpop(["empty", "queue"], timeout=int(20 * SLOW)) == (b"queue", b"job")
    assert time.monotonic() - began >= 0.15
    assert client.blpop("queue", timeout=1) is None
    assert client.set("k", "v") and client.get("k") == b"v"
    # Another client is not kept waiting, nor is the daemon by one that goes away.
    gone = daemon.client(single_connection_client=True)
    gone.connection.send_command("BLPOP", "queue", 0)
    assert daemon.client().get("k") == b"v"
    gone.connection.disconnect()
    assert daemon.client().get("k") == b"v"


def test_pub_sub(pair, client):
    daemon, behind, _ = pair
    pubsub = client.pubsub()
    pubsub.subscribe("news")
    pubsub.psubscribe("n*")
    for expected in ("subscribe", "psubscribe"):
        assert wait_until(pubsub.get_message, 10, expected)["type"] == expected
    assert behind.publish("news", "hello") == 2
    kinds = {wait_until(pubsub.get_message, 10, "the message")["type"] for _ in range(2)}
    assert kinds == {"message", "pmessage"}
    assert daemon.client().publish("news", "again") == 2
    assert wait_until(pubsub.get_message, 10, "the message")["data"] == b"again"
    pubsub.close()


def test_keys_and_scan(pair, client):
    daemon, behind, prefix = pair
    behind.set("strangers", "x")
    for i in range(50):
        client.rpush(f"list:{i}", "x")
    client.set("@at", "x")
    strangers = set() if prefix else {b"strangers"}
    assert set(client.keys("list:*")) == {b"list:%d" % i for i in range(50)}
    assert set(client.keys("*")) == {b"list:%d" % i for i in range(50)} | {b"@at"} | strangers
    assert set(client.scan_iter(match="list:1*")) == {b"list:%d" % i for i in [1, *range(10, 20)]}
    assert len(set(client.scan_iter(count=7))) == 51 + len(strangers)


@pytest.mark.parametrize("args, why", [
    (("SHUTDOWN",), "administers Redis"), (("CONFIG", "SET", "maxmemory", "1"), "configuration file only"),
    (("ACL", "LIST"), "administers Redis"), (("SWAPDB", 0, 1), "belongs to one cache"),
    (("RANDOMKEY",), "whole Redis database"), (("SORT", "l", "BY", "w_*"), "keys are not known"),
    (("NOSUCHCOMMAND",), "unknown command")])
def test_what_is_not_passed_on(client, args, why):
    with pytest.raises(redis.ResponseError, match=why):
        client.execute_command(*args)


def test_flushall_is_this_caches_clear(daemons, redis_server):
    daemon = daemons("--workers", "1", "--redis", redis_server.address)
    redis_server.client().set("strangers", "x")
    daemon.client().rpush("l", "x")
    daemon.client().execute_command("FLUSHALL")
    assert redis_server.client().keys("*") == [b"strangers"]


def test_select_of_a_database_that_is_no_caches(pair):
    """Redis' db n, by way of a connection of the client's own; FLUSHDB and DBSIZE are about it alone."""
    daemon, behind, prefix = pair
    other = redis.Redis(port=behind.connection_pool.connection_kwargs["port"], db=3)
    client = daemon.client(single_connection_client=True)
    client.set("k", "zero")
    client.execute_command("SELECT", 3)
    assert client.get("k") is None and client.set("k", "three") and client.rpush("l", "x") == 1
    assert client.get("k") == b"three" and other.get(prefix + "k") == b"three" and client.dbsize() == 2
    for command in (["MULTI"], ["INCR", "n"], ["GET", "k"]):
        client.execute_command(*command)
    assert client.execute_command("EXEC") == [1, b"three"] and client.get("k") == b"three"
    client.execute_command("SELECT", 0)
    assert client.get("k") == b"zero" and client.dbsize() == 1
    client.execute_command("SELECT", 3)
    if prefix:
        assert client.flushdb() and client.dbsize() == 0 and behind.get(prefix + "k") == b"zero"
    else:
        with pytest.raises(redis.ResponseError, match="whole Redis database"):
            client.flushdb()


def test_the_memory_policy_is_redis_own(daemons, redis_server):
    client = daemons("--workers", "1", "--redis", redis_server.address).client()
    redis_server.client().config_set("maxmemory-policy", "volatile-ttl")
    wait_until(lambda: client.info("memory")["maxmemory_policy"] == "volatile-ttl", 10, "the policy")
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "volatile-ttl"}


def test_errors_are_redis_own(client):
    client.rpush("l", "x")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        client.hget("l", "f")
    with pytest.raises(redis.ResponseError, match="wrong number of arguments"):
        client.execute_command("LPUSH", "l")
    with pytest.raises(redis.exceptions.NoScriptError):
        client.evalsha("0" * 40, 0)


def test_redis_down_and_back(daemons, tmp_path):
    server = RedisServer(tmp_path / "own")
    try:
        daemon = daemons("--workers", "1", "--redis", server.address)
        client = daemon.client(single_connection_client=True)
        client.rpush("l", "x")
        client.execute_command("MULTI")
        client.execute_command("SET", "k", "v")
        server.stop(9)
        with pytest.raises(redis.ResponseError):
            client.execute_command("EXEC")
        wait_until(lambda: "CLUSTERDOWN" in error_of(client, "LLEN", "l"), 10, "the error of a dead Redis")
        server.start()
        wait_until(lambda: error_of(client, "LLEN", "l") == "", 20, "Redis being used again")
        assert client.get("k") is None
    finally:
        server.stop()


def error_of(client, *args):
    try:
        client.execute_command(*args)
    except redis.RedisError as error:
        return str(error) or repr(error)
    return ""


def test_clients_with_a_connection_of_their_own_are_limited(daemons, redis_server):
    daemon = daemons(config=f'workers = 1; redis = {{{{ server = "{redis_server.address}"; own_connections = 2; }}}}; '
                            'listen = ( {{ address = "unix:{socket}"; }} );')
    clients = [daemon.client(single_connection_client=True) for _ in range(3)]
    for client in clients[:2]:
        client.execute_command("MULTI")
    with pytest.raises(redis.ResponseError, match="redis.own_connections"):
        clients[2].execute_command("MULTI")
    clients[0].connection.disconnect()
    wait_until(lambda: error_of(clients[2], "MULTI") == "", 10, "a place free")


PHP = r"""
$r = new Redis();
$r->connect($argv[1]);
$r->del('l', 'h', 'z', 'k');
$out = [];
$r->rPush('l', 'a', 'b');
$out[] = implode(',', $r->lRange('l', 0, -1));
$r->hMSet('h', ['x' => 1, 'y' => 2]);
$out[] = json_encode($r->hGetAll('h'));
$r->zAdd('z', 1, 'one', 2, 'two');
$out[] = implode(',', $r->zRange('z', 0, -1));
$out[] = $r->eval("return redis.call('INCRBY', KEYS[1], ARGV[1])", ['n', 5], 1);
$out[] = json_encode($r->multi()->set('k', 'v')->get('k')->lLen('l')->exec());
$r->set('k', 'hello'); $r->get('k');
$r->setRange('k', 0, 'J'); $r->append('k', '!');
$out[] = $r->get('k');
$out[] = json_encode($r->blPop(['l'], 1));
echo implode("\n", $out);
"""


def test_phpredis(pair):
    daemon, _, _ = pair
    done = subprocess.run(["php", "-r", PHP, "--", str(daemon.socket)], capture_output=True, text=True, timeout=30 * SLOW)
    assert done.stdout.split("\n") == ["a,b", '{"x":"1","y":"2"}', "one,two", "5", '[true,"v",2]', "Jello!", '["l","a"]'], \
        done.stdout + done.stderr
