"""The RESP commands beside GET and SET: what a client that knows Redis expects of each."""

import time

import pytest
import redis

import resp


def refused(client, *command):
    with pytest.raises(redis.ResponseError) as caught:
        client.execute_command(*command)
    return str(caught.value)


def test_rename_and_copy(daemon):
    c = daemon.client()
    c.set("a", "1", ex=100)
    assert c.rename("a", "b") is True
    assert c.get("a") is None and c.get("b") == b"1" and 98 <= c.ttl("b") <= 100
    assert "no such key" in refused(c, "RENAME", "nope", "x")
    assert "no such key" in refused(c, "RENAMENX", "nope", "x")
    assert c.rename("b", "b") is True and c.get("b") == b"1"
    c.set("c", "2")
    assert c.renamenx("b", "c") is False
    assert c.renamenx("b", "d") is True
    assert c.copy("d", "e") is True and c.ttl("e") > 90
    assert c.copy("d", "e") is False
    assert c.copy("c", "e", replace=True) is True and c.get("e") == b"2" and c.ttl("e") == -1
    assert c.copy("nope", "f") is False
    assert "are the same" in refused(c, "COPY", "c", "c")
    big = "x" * 3_000_000
    c.set("big", big)
    c.rename("big", "bigger")
    assert c.strlen("bigger") == len(big) and c.get("bigger").decode() == big


def test_parts_of_a_value(daemon):
    c = daemon.client()
    c.set("k", "This is a string")
    assert [c.getrange("k", *r) for r in ((0, 3), (-3, -1), (0, -1), (10, 100), (5, 2), (-100, 3), (100, 200))] == \
        [b"This", b"ing", b"This is a string", b"string", b"", b"This", b""]
    assert c.substr("k", 0, 3) == b"This"
    assert c.getrange("nope", 0, -1) == b""
    assert "not an integer" in refused(c, "GETRANGE", "k", "x", "1")
    assert c.setrange("k", 8, "not a string") == 20
    assert c.get("k") == b"This is not a string"
    assert c.setrange("pad", 3, "x") == 4 and c.get("pad") == b"\0\0\0x"
    assert c.setrange("nothing", 3, "") == 0 and c.exists("nothing") == 0
    assert "offset is out of range" in refused(c, "SETRANGE", "k", "-1", "x")
    assert "maximum allowed size" in refused(c, "SETRANGE", "k", str(2**40), "x")


def test_floats(daemon):
    c = daemon.client()
    c.set("f", "10.50", ex=100)
    assert c.execute_command("INCRBYFLOAT", "f", "0.1") == 10.6
    assert c.get("f") == b"10.6" and c.ttl("f") > 90
    c.set("f", "5.0e3")
    c.incrbyfloat("f", "2.0e2")
    assert c.get("f") == b"5200"
    c.incrbyfloat("new", "-1.25")
    assert c.get("new") == b"-1.25"
    c.set("text", "abc")
    assert "not a valid float" in refused(c, "INCRBYFLOAT", "text", "1")
    assert "not a valid float" in refused(c, "INCRBYFLOAT", "f", "abc")
    assert "NaN or Infinity" in refused(c, "INCRBYFLOAT", "f", "inf")


def test_expire_conditions(daemon):
    c = daemon.client()
    c.set("k", "v")
    run = c.execute_command
    assert run("EXPIRE", "k", 100, "XX") == 0
    assert run("EXPIRE", "k", 100, "GT") == 0  # no expiry is the latest of all
    assert run("EXPIRE", "k", 100, "NX") == 1
    assert run("EXPIRE", "k", 200, "NX") == 0
    assert run("EXPIRE", "k", 50, "GT") == 0
    assert run("EXPIRE", "k", 200, "GT") == 1 and c.ttl("k") > 190
    assert run("PEXPIRE", "k", 300000, "LT") == 0
    assert run("EXPIREAT", "k", int(time.time()) + 60, "LT") == 1 and c.ttl("k") <= 60
    assert abs(run("EXPIRETIME", "k") - (time.time() + 60)) < 3
    assert abs(run("PEXPIRETIME", "k") / 1000 - (time.time() + 60)) < 3
    assert run("EXPIRETIME", "nope") == -2
    c.persist("k")
    assert run("EXPIRETIME", "k") == -1
    assert run("EXPIRE", "k", 100, "LT") == 1
    assert run("EXPIRE", "nope", 100, "NX") == 0
    assert "not compatible" in refused(c, "EXPIRE", "k", "1", "NX", "XX")
    assert "not compatible" in refused(c, "EXPIRE", "k", "1", "GT", "LT")
    assert "Unsupported option" in refused(c, "EXPIRE", "k", "1", "YY")
    assert run("EXPIRE", "k", -1, "XX") == 1 and c.exists("k") == 0


def test_what_tools_ask_about_keys(daemon):
    c = daemon.client()
    c.mset({"int": "12345", "short": "abc", "long": "x" * 45, "zeros": "0012"})
    assert [c.object("encoding", k) for k in ("int", "short", "long", "zeros", "nope")] == \
        [b"int", b"embstr", b"raw", b"embstr", None]
    assert c.object("refcount", "int") == 1
    assert "LFU" in refused(c, "OBJECT", "FREQ", "int")
    assert c.touch("int", "short", "nope") == 2
    assert 45 < c.memory_usage("long") < 200 and c.memory_usage("nope") is None
    assert c.execute_command("WAIT", 0, 0) == 0
    assert "not allowed" in refused(c, "DEBUG", "SLEEP", "0")
    assert "SWAPDB" in refused(c, "SWAPDB", "0", "1")


def test_info_and_config(daemon):
    c = daemon.client()
    c.set("k", "v")
    info = c.info()
    assert info["redis_version"].startswith("7.2") and info["redis_mode"] == "standalone"
    assert info["role"] == "master" and info["cluster_enabled"] == 0
    assert info["maxmemory_policy"] == "allkeys-lru" and info["maxmemory"] == 32 << 20
    assert info["connected_clients"] >= 1 and info["total_commands_processed"] >= 1
    assert info["db0"]["keys"] == 1
    assert set(c.info("memory")) & {"redis_version"} == set()
    assert "used_memory" in c.info("memory")
    assert c.config_get("maxmemory*") == {"maxmemory": str(32 << 20), "maxmemory-policy": "allkeys-lru"}
    assert c.config_get("nope") == {}
    assert "configuration file" in refused(c, "CONFIG", "SET", "maxmemory", "1")
    c.get("k")
    assert c.info("stats")["keyspace_hits"] >= 1
    assert c.config_resetstat() is True
    assert c.info("stats")["keyspace_hits"] == 0


def test_command_tells_the_table(daemon):
    c = daemon.client()
    table = c.command()
    assert table["get"]["arity"] == 2 and table["mset"]["step_count"] == 2
    with resp.Connection(daemon.connect()) as raw:
        assert len(table) == raw.call("COMMAND", "COUNT") == len(raw.call("COMMAND", "LIST"))
        get, nope = raw.call("COMMAND", "INFO", "get", "nope")
        assert get[:6] == [b"get", 2, [b"readonly"], 1, 1, 1] and nope is None
        assert raw.call("COMMAND", "DOCS", "get")[0] == b"get"
        assert raw.call("COMMAND", "GETKEYS", "MSET", "a", "1", "b", "2") == [b"a", b"b"]
        assert raw.call("COMMAND", "GETKEYS", "GET", "k") == [b"k"]
        assert raw.call("COMMAND", "GETKEYS", "EVAL", "script", "2", "a", "b", "c") == [b"a", b"b"]
    assert "no key arguments" in refused(c, "COMMAND", "GETKEYS", "PING", "x")
    assert "Invalid command" in refused(c, "COMMAND", "GETKEYS", "NOPE", "k")


def test_client_commands(daemons):
    daemon = daemons("--workers", "1", "--memory", "16M")
    c, other = daemon.client(single_connection_client=True), daemon.client(single_connection_client=True)
    other.client_setname("the-other")
    assert other.client_getname() == "the-other"
    listed = {row["name"]: row for row in c.client_list()}
    assert "the-other" in listed
    assert c.execute_command("CLIENT", "NO-EVICT", "ON") in (b"OK", True)
    assert c.execute_command("CLIENT", "UNPAUSE") in (b"OK", True)
    assert c.client_kill_filter(_id=listed["the-other"]["id"]) == 1
    assert "the-other" not in {row["name"] for row in c.client_list()}
    assert "No such client" in refused(c, "CLIENT", "KILL", "127.0.0.1:1")
    assert "unknown subcommand" in refused(c, "CLIENT", "FOO")
    assert "wrong number of arguments for 'client|" in refused(c, "CLIENT", "SETNAME")


def test_error_texts(daemon):
    c = daemon.client()
    c.set("text", "abc")
    assert refused(c, "NOSUCH", "a", "b") == "unknown command 'NOSUCH', with args beginning with: 'a' 'b' "
    assert refused(c, "GET") == "wrong number of arguments for 'get' command"
    assert refused(c, "SET", "a", "b", "FOO") == "syntax error"
    assert refused(c, "INCR", "text") == "value is not an integer or out of range"
    assert refused(c, "SELECT", "x") == "value is not an integer or out of range"
    assert "invalid expire time in 'set' command" in refused(c, "SET", "a", "b", "EX", "0")
    assert "unsupported protocol version" in refused(c, "HELLO", "9")


def test_resp3_forms(daemon):
    with resp.Connection(daemon.connect()) as c:
        hello = c.call("HELLO", "3", "SETNAME", "tester")
        assert isinstance(hello, dict) and hello[b"proto"] == 3 and hello[b"server"] == b"redis"
        assert c.call("CLIENT", "GETNAME") == b"tester"
        assert c.call("GET", "nope") is None
        assert c.call("CONFIG", "GET", "maxmemory-policy") == {b"maxmemory-policy": b"allkeys-lru"}
        assert isinstance(c.call("COMMAND", "INFO", "get")[0][2], set)
        assert c.call("WATCH", "k") == b"OK"
        assert c.call("SET", "k", "v") == b"OK"
        assert c.call("MULTI") == b"OK"
        assert c.call("EXEC") is None
        assert c.call("RESET") == b"RESET"
        c.send("GET", "nope")
        assert c.line() == b"$-1"
