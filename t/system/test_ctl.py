"""cachetasticctl: what it prints, on which stream, and its exit status."""

import json
import socket
import subprocess
import threading

from harness import CTL, SLOW


def run(*args, stdin=None):
    return subprocess.run([str(CTL), *args], input=stdin, capture_output=True, timeout=30 * SLOW)


def answer(result):
    assert (result.returncode, result.stderr) == (0, b""), result.stderr
    return json.loads(result.stdout)


def test_values_are_printed_as_they_are(daemon):
    value = bytes(range(256)) * 5000
    assert daemon.ctl("put", "k", stdin=value).returncode == 0
    result = daemon.ctl("get", "k")
    assert (result.returncode, result.stdout, result.stderr) == (0, value, b"")
    assert daemon.ctl("put", "empty", "").returncode == 0
    assert daemon.ctl("get", "empty").stdout == b""


def test_json_of_every_command(daemon):
    assert answer(daemon.ctl("--json", "put", "k", "h\u00e9llo")) == {"stored": True}
    assert answer(daemon.ctl("--json", "get", "k")) == {"found": True, "value": "h\u00e9llo"}
    daemon.client().set("bin", b"\xff\0")
    assert answer(daemon.ctl("get", "bin", "--json")) == {"found": True, "value_hex": "ff00"}
    assert answer(daemon.ctl("--json", "stats"))["caches"]["default"]["puts"] == 2
    assert answer(daemon.ctl("--json", "-c", "default", "stats"))["puts"] == 2
    assert answer(daemon.ctl("--json", "check"))["default"]["problems"] == 0
    assert answer(daemon.ctl("--json", "delete", "bin")) == {"deleted": True}
    assert answer(daemon.ctl("--json", "purge", "k*"))["purged"] is True
    assert answer(daemon.ctl("--json", "clear"))["cleared"] is True
    assert answer(daemon.ctl("--json", "reset")) == {"reset": True}
    assert answer(daemon.ctl("--json", "ping")) == {"pong": True}


def test_a_missing_key_is_status_1(daemon):
    for command in ("get", "delete"):
        result = daemon.ctl(command, "none")
        assert (result.returncode, result.stdout) == (1, b"")
        assert b"no such key" in result.stderr
    result = daemon.ctl("--json", "get", "none")
    assert (result.returncode, json.loads(result.stdout)) == (1, {"found": False})


def test_ttl(daemon):
    assert daemon.ctl("put", "k", "v", "--ttl", "60s").returncode == 0
    assert 55 <= daemon.client().ttl("k") <= 60
    assert daemon.ctl("put", "k", "v").returncode == 0
    assert daemon.client().ttl("k") == -1
    result = daemon.ctl("put", "k", "v", "--ttl", "60")
    assert result.returncode == 2 and b"--ttl" in result.stderr


NAMED = """
    workers = 1;
    listen = ( {{ address = "unix:{socket}"; }}, {{ address = "127.0.0.1:{port}"; protocol = "resp"; }} );
    caches = ( {{ name = "default"; memory = "8M"; }}, {{ name = "sessions"; memory = "8M"; }} );
"""


def test_named_caches_over_tcp(daemons):
    daemon = daemons(config=NAMED)
    host = f"127.0.0.1:{daemon.port}"
    assert run("-h", host, "-c", "sessions", "put", "k", "v").returncode == 0
    assert run("-h", host, "get", "k").returncode == 1
    assert run("-h", host, "-c", "sessions", "get", "k").stdout == b"v"
    table = run("-h", host, "stats").stdout.decode().splitlines()
    rows = {line.split()[0]: line.split() for line in table if line and line.split()[0] in
            ("cache", "default", "sessions", "total")}
    entries = rows["cache"].index("entries")
    assert [rows[name][entries] for name in ("default", "sessions", "total")] == ["0", "1", "1"]
    assert [line.split()[0] for line in run("-h", host, "check").stdout.decode().splitlines()] == \
        ["default:", "sessions:"]
    assert run("-h", host, "-c", "sessions", "clear").returncode == 0
    assert run("-h", host, "-c", "sessions", "get", "k").returncode == 1


def test_purge_by_tag(daemon):
    for key, tag in (("a", "red"), ("b", "blue")):
        assert daemon.http("PUT", f"/v1/caches/default/entries/{key}", b"x", {"Cache-Tags": tag})[0] == 204
    assert daemon.ctl("purge", "--tag", "red").returncode == 0
    assert daemon.client().mget("a", "b") == [None, b"x"]
    assert daemon.ctl("purge").returncode == 2
    assert daemon.ctl("purge", "a*", "--tag", "red").returncode == 2


def test_wrong_use_is_said(daemon):
    for args in ((), ("frobnicate",), ("get",), ("get", "a", "b"), ("--nosuch", "ping"), ("--timeout", "soon", "ping")):
        result = daemon.ctl(*args)
        assert (result.returncode, result.stdout) == (2, b""), args
        assert result.stderr.startswith(b"cachetasticctl: ") or b"--nosuch" in result.stderr
    for args in ("--help",), ("-V",):
        assert run(*args).returncode == 0
        assert b"cachetasticctl" in run(*args).stdout


def test_no_daemon(tmp_path):
    result = run("-s", str(tmp_path / "none.sock"), "ping")
    assert (result.returncode, result.stdout) == (2, b"")
    assert b"none.sock" in result.stderr
    result = run("-s", "x" * 200, "ping")
    assert result.returncode == 2 and b"107 bytes" in result.stderr
    result = run("-h", "127.0.0.1:1", "ping")
    assert result.returncode == 2 and b"127.0.0.1:1" in result.stderr
    assert run("-h", "nonsense", "ping").returncode == 2


def other_end(path, reply):
    """A server that accepts once, sends reply (None: nothing) and holds or ends the connection."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)
    done = threading.Event()

    def serve():
        connection, _ = listener.accept()
        if reply is not None:
            connection.recv(1000)
            connection.sendall(reply)
        else:
            done.wait(20 * SLOW)
        connection.close()
        listener.close()
    threading.Thread(target=serve, daemon=True).start()
    return done


def test_other_ends_that_misbehave(tmp_path):
    done = other_end(tmp_path / "silent", None)
    result = run("-s", str(tmp_path / "silent"), "--timeout", "200ms", "ping")
    assert result.returncode == 2 and b"--timeout" in result.stderr
    done.set()
    for name, reply, words in (("http", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"RESP"), ("gone", b"", b"closed"),
                               ("kind", b":1\r\n", b"another kind")):
        other_end(tmp_path / name, reply)
        result = run("-s", str(tmp_path / name), "get", "k")
        assert (result.returncode, result.stdout) == (2, b"")
        assert words in result.stderr, result.stderr


def test_an_answer_that_cannot_be_written_is_an_error(daemon):
    with open("/dev/full", "wb") as full:
        result = subprocess.run([str(CTL), "-s", str(daemon.socket), "ping"], stdout=full, stderr=subprocess.PIPE)
    assert result.returncode == 2 and b"write" in result.stderr


def test_top(daemon):
    client = daemon.client()
    for i in range(200):
        client.set(f"k{i}", b"x" * (10 + i))
    client.set("large", b"y" * 100000, px=600000)
    client.set(b"odd\n\xff", b"z" * 50000)
    over = threading.Event()

    def read():
        while not over.wait(0.001):
            daemon_client.get("k7")
            daemon_client.get("k7")
            daemon_client.get("k8")
    daemon_client = daemon.client()
    reader = threading.Thread(target=read)
    reader.start()
    try:
        top = answer(daemon.ctl("--json", "--watch", "500ms", "top", "3"))
        text = daemon.ctl("--watch", "300ms", "top", "2").stdout.decode(errors="replace")
    finally:
        over.set()
        reader.join()
    assert [entry["key"] for entry in top["hottest"]][:2] == ["k7", "k8"]
    assert top["hottest"][0]["reads_a_second"] > top["hottest"][1]["reads_a_second"] > 0
    assert top["hottest"][0]["bytes"] == 17 and top["hottest"][0]["reads_kept"] == 7
    assert top["hottest"][0]["expires_in_ms"] == -1
    assert [entry["bytes"] for entry in top["largest"]] == [100000, 50000, 209]
    assert 0 < top["largest"][0]["expires_in_ms"] <= 600000
    assert "key" not in top["largest"][1]  # not UTF-8
    assert "read most" in text and "odd\\x0a" in text and " k7\n" in text
    assert len(text.splitlines()) == 2 * (2 + 2) + 1
    assert run("-s", str(daemon.socket), "top", "0").returncode == 2
    # What is in shared memory without anybody watching.
    assert answer(daemon.ctl("--json", "--watch", "0", "top", "1"))["hottest"][0]["reads_kept"] == 7


def test_top_of_one_cache(daemons):
    daemon = daemons(config='listen = ( {{ address = "unix:{socket}"; }} ); workers = 1;\n'
                            'caches = ( {{ name = "default"; memory = "8M"; }}, {{ name = "other"; memory = "8M"; }} );\n')
    daemon.client().set("here", "v")
    daemon.cache("other").set("there", "v")
    assert [e["key"] for e in answer(daemon.ctl("--json", "--watch", "10ms", "-c", "other", "top"))["largest"]] == ["there"]
    assert [e["key"] for e in answer(daemon.ctl("--json", "--watch", "10ms", "top"))["largest"]] == ["here"]
