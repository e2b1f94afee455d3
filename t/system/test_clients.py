"""Existing clients, unchanged, on a memory-only daemon: redis-py, phpredis, curl, redis-cli."""

import json
import subprocess
import time

import pytest
import redis

from harness import SLOW, wait_until


def run(*argv, **options):
    return subprocess.run(argv, capture_output=True, timeout=30 * SLOW, **options)


def test_the_readme_example(daemon):
    put = run("curl", "-sS", "-X", "PUT", "--data", "hello",
              f"http://127.0.0.1:{daemon.port}/v1/caches/default/entries/k")
    assert put.returncode == 0, put.stderr
    got = run("redis-cli", "-s", str(daemon.socket), "GET", "k")
    assert got.stdout == b"hello\n"
    got = run("curl", "-sS", f"http://127.0.0.1:{daemon.port}/v1/caches/default/entries/k")
    assert got.stdout == b"hello"


def test_strings_through_redis_py(daemon):
    c = daemon.client()
    blob = bytes(range(256)) * 40
    assert c.set(blob[:300], blob) is True
    assert c.get(blob[:300]) == blob
    assert c.set("k", "1", nx=True) is True
    assert c.set("k", "2", nx=True) is None
    assert c.set("k", "2", xx=True) is True
    assert c.set("k", "3", get=True) == b"2"
    assert c.getset("k", "4") == b"3"
    assert c.strlen("k") == 1
    assert c.append("k", "56") == 3
    assert c.get("k") == b"456"
    assert c.setnx("k", "x") is False
    assert c.mset({"a": "1", "b": "2"}) is True
    assert c.mget("a", "nope", "b") == [b"1", None, b"2"]
    assert c.exists("a", "b", "nope") == 2
    assert c.delete("a", "b", "nope") == 2
    assert c.unlink("k") == 1
    assert c.getdel("k") is None
    assert c.type("k") == b"none"
    c.set("k", "v")
    assert c.type("k") == b"string"
    assert c.getdel("k") == b"v"


def test_expiry_through_redis_py(daemon):
    c = daemon.client()
    c.set("k", "v", ex=100)
    assert 99 <= c.ttl("k") <= 100
    c.set("k", "w", keepttl=True)
    assert 99 <= c.ttl("k") <= 100
    assert c.persist("k") is True
    assert c.ttl("k") == -1
    assert c.pexpire("k", 5000) is True
    assert 4000 < c.pttl("k") <= 5000
    assert c.getex("k", ex=50) == b"w"
    assert 49 <= c.ttl("k") <= 50
    assert c.getex("k", persist=True) == b"w"
    assert c.ttl("k") == -1
    c.set("k", "v", exat=int(time.time()) + 60)
    assert 58 <= c.ttl("k") <= 60
    assert c.expireat("k", int(time.time()) + 30) is True
    assert 28 <= c.ttl("k") <= 30
    assert c.expire("k", -1) is True
    assert c.exists("k") == 0
    assert c.ttl("k") == -2
    c.psetex("k", 60, "v")
    assert c.get("k") == b"v"
    wait_until(lambda: c.get("k") is None, 2, "the expiry")
    c.setex("k", 10, "v")
    assert 9 <= c.ttl("k") <= 10


def test_counters(daemon):
    c = daemon.client()
    assert [c.incr("n"), c.incrby("n", 10), c.decr("n"), c.decrby("n", 5)] == [1, 11, 10, 5]
    c.set("n", 2**63 - 1)
    with pytest.raises(redis.exceptions.ResponseError, match="overflow"):
        c.incr("n")


def test_counters_of_many_processes_add_up(daemon):
    """Read-modify-write over two workers loses nothing."""
    bench = [subprocess.Popen(["redis-benchmark", "-s", str(daemon.socket), "-q", "-n", "20000", "-c", "20", "INCR", "n"],
                              stdout=subprocess.DEVNULL) for _ in range(2)]
    for process in bench:
        assert process.wait(60 * SLOW) == 0
    assert daemon.client().get("n") == b"40000"


def test_pipelining_keeps_order(daemon):
    pipe = daemon.client().pipeline(transaction=False)
    for i in range(1000):
        pipe.set(f"k{i % 7}", i)
        pipe.get(f"k{i % 7}")
    answers = pipe.execute()
    assert answers[1::2] == [b"%d" % i for i in range(1000)]


def test_whole_cache(daemon):
    c = daemon.client()
    assert c.dbsize() == 0
    c.mset({f"k{i}": i for i in range(100)})
    assert c.dbsize() == 100
    assert c.flushdb() is True
    assert c.dbsize() == 0
    assert c.get("k1") is None


def test_connection_commands(daemon):
    c = daemon.client(single_connection_client=True)
    assert c.ping() and c.echo("x") == b"x"
    assert c.client_setname("me") and c.client_getname() == "me"
    assert c.client_id() > 0
    info = c.info()
    assert info["redis_version"].startswith("7.2") and info["maxmemory_policy"] == "allkeys-lru"
    hello = c.execute_command("HELLO", "2")
    assert dict(zip(hello[::2], hello[1::2]))[b"proto"] == 2
    assert "get" in c.command()


def test_phpredis(daemon):
    code = f"""
        $r = new Redis(); $r->connect('{daemon.socket}');
        $out = [$r->set('k', "v\\0v"), $r->get('k'), $r->setex('t', 100, 'x'), $r->ttl('t'), $r->set('k', 'y', ['nx', 'ex' => 5]),
                $r->mset(['a' => '1', 'b' => '2']), $r->mget(['a', 'none', 'b']), $r->incr('n'), $r->incrBy('n', 41),
                $r->exists('a', 'b'), $r->del('a', 'b'), $r->get('a'), $r->append('k', '!'), $r->strlen('k')];
        $p = $r->multi(Redis::PIPELINE); for ($i = 0; $i < 100; $i++) $p->set("p$i", $i)->get("p$i");
        $out[] = count(array_filter($p->exec(), fn($x) => $x !== false));
        $r->select(0); $r->flushDB(); $out[] = $r->dbSize();
        echo json_encode($out);"""
    result = run("php", "-d", "display_errors=stderr", "-r", code)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == [True, "v\0v", True, 100, False, True, ["1", False, "2"], 1, 42, 2, 2, False, 4, 4,
                                         200, 0]


def test_http_entries(daemon):
    path = "/v1/caches/default/entries/a%2Fb%20c/d"
    status, _, _ = daemon.http("PUT", path, b"\0binary\xff", {"Content-Type": "image/png", "Cache-TTL": "60s"})
    assert status == 204
    status, headers, body = daemon.http("GET", path)
    assert (status, body) == (200, b"\0binary\xff")
    assert headers["Content-Type"] == "image/png"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert daemon.client().get("a/b c/d") == b"\0binary\xff"
    assert 58 <= daemon.client().ttl("a/b c/d") <= 60
    etag = headers["ETag"]
    assert daemon.http("GET", path, None, {"If-None-Match": etag})[0] == 304
    assert daemon.http("PUT", path, b"x", {"If-None-Match": "*"})[0] == 412
    status, _, body = daemon.http("HEAD", path)
    assert (status, body) == (200, b"")
    assert daemon.http("DELETE", path)[0] == 204
    assert daemon.http("GET", path)[0] == 404
    assert daemon.http("GET", "/v1/caches/nosuch/entries/k")[0] == 404
    assert daemon.http("PATCH", path)[0] == 405


def test_http_purge_and_clear(daemon):
    for key, tag in (("a", "red"), ("b", "blue"), ("user:1", "")):
        assert daemon.http("PUT", f"/v1/caches/default/entries/{key}", b"x", {"Cache-Tags": tag} if tag else {})[0] == 204
    assert daemon.http("POST", "/v1/caches/default/purge?tag=red")[0] == 200
    assert daemon.client().mget("a", "b", "user:1") == [None, b"x", b"x"]
    assert daemon.http("POST", "/v1/caches/default/purge?pattern=user:*")[0] == 200
    assert daemon.client().mget("b", "user:1") == [b"x", None]
    assert daemon.http("DELETE", "/v1/caches/default")[0] in (200, 204)
    assert daemon.client().dbsize() == 0


def test_stats_metrics_and_health(daemon):
    c = daemon.client()
    c.set("k", "v")
    c.get("k"), c.get("none")
    status, _, body = daemon.http("GET", "/v1/stats")
    stats = json.loads(body)
    assert status == 200
    for part in (stats["caches"]["default"], stats["total"]):
        assert (part["hits"], part["misses"], part["puts"], part["entries"]) == (1, 1, 1, 1)
        assert part["hit_rate"] == 0.5
    assert len(stats["workers"]) == 2
    status, headers, body = daemon.http("GET", "/metrics")
    assert status == 200 and headers["Content-Type"].startswith("text/plain")
    assert b'cachetastic_hits_total{cache="default"} 1\n' in body
    assert daemon.http("GET", "/healthz")[0] == 200
    assert daemon.http("GET", "/readyz")[0] == 200


def test_ctl(daemon):
    assert daemon.ctl("ping").returncode == 0
    assert daemon.ctl("put", "k", "hello", "--ttl", "60s").returncode == 0
    assert daemon.ctl("get", "k").stdout.rstrip(b"\n") == b"hello"
    assert daemon.ctl("get", "nope").returncode == 1
    assert json.loads(daemon.ctl("--json", "stats").stdout)["caches"]["default"]["puts"] == 1
    assert b"hit" in daemon.ctl("stats").stdout
    assert daemon.ctl("put", "user:1", stdin=b"from stdin\0").returncode == 0
    assert daemon.client().get("user:1") == b"from stdin\0"
    assert daemon.ctl("purge", "user:*").returncode == 0
    assert daemon.client().get("user:1") is None
    assert daemon.ctl("check").returncode == 0
    assert daemon.ctl("delete", "k").returncode == 0
    assert daemon.ctl("reset").returncode == 0
    assert daemon.stats()["total"]["puts"] == 0
    assert daemon.ctl("clear").returncode == 0
    assert daemon.ctl("-c", "nosuch", "get", "k").returncode == 2
