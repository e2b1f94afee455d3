"""Bad input gets a clear error that names the limit or the line, and the daemon goes on."""

import socket
import subprocess

import pytest
import redis

from harness import DAEMON, SLOW


def check_config(tmp_path, text):
    path = tmp_path / "bad.conf"
    path.write_text(text)
    return subprocess.run([str(DAEMON), "-c", str(path), "-t"], capture_output=True, text=True, timeout=20 * SLOW)


@pytest.mark.parametrize("text, line, words", [
    ('workers = 2;\nwrokers = 3;\n', 2, ["wrokers", "unknown"]),
    ('caches = (\n  { name = "default"; memory = 268435456; } );\n', 2, ["memory", '"']),
    ('caches = (\n  { name = "default"; memory = "1M"; } );\n', 2, ["memory", "4M"]),
    ('workers = 2\ncaches = 256M;\n', 2, ["syntax"]),
    ('listen = (\n { address = "unix:/tmp/x.sock";\n mode = 0660; } );\n', 3, ["mode", '"']),
    ('limits: {\n  idle_timeout = "10";\n};\n', 2, ["idle_timeout", "10"]),
    ('caches = ( { name = "default"; backend = "layered"; } );\n', 1, ["redis"]),
])
def test_a_bad_configuration_names_file_line_and_key(tmp_path, text, line, words):
    result = check_config(tmp_path, text)
    assert result.returncode == 1
    assert f"bad.conf:{line}:" in result.stderr, result.stderr
    for word in words:
        assert word in result.stderr, result.stderr


def test_a_good_configuration_is_said_to_be_good(tmp_path):
    result = check_config(tmp_path, 'workers = 2;\n')
    assert result.returncode == 0, result.stderr


LIMITED = """
    workers = 1;
    listen = ( {{ address = "unix:{socket}"; }}, {{ address = "127.0.0.1:{port}"; protocol = "http"; }} );
    limits: {{ key = "64"; value = "10K"; http_line = "1K"; http_header = "2K"; resp_args = 100; }};
    caches = ( {{ name = "default"; memory = "8M"; }} );
    api_token_file = "{directory}/token";
"""


@pytest.fixture
def limited(daemons, tmp_path):
    (tmp_path / "d0").mkdir()
    (tmp_path / "d0" / "token").write_text("secret\n")
    daemon = daemons(config=LIMITED)
    daemon.auth = {"Authorization": "Bearer secret"}
    return daemon


def raw(daemon, data, tcp=False):
    """Everything the daemon answers until it closes or is silent for half a second."""
    s = socket.socket(socket.AF_INET if tcp else socket.AF_UNIX)
    s.settimeout(0.5 * SLOW)
    s.connect(("127.0.0.1", daemon.port) if tcp else str(daemon.socket))
    s.sendall(data)
    answer = b""
    try:
        while chunk := s.recv(65536):
            answer += chunk
    except socket.timeout:
        pass
    s.close()
    return answer


def test_oversized_key_and_value_over_resp(limited):
    with pytest.raises(redis.exceptions.ResponseError, match="limits.key"):
        limited.client().set("k" * 65, "v")
    with pytest.raises(redis.exceptions.ResponseError, match="limits.value"):
        limited.client().set("k", "v" * 10241)
    assert limited.client().set("k" * 64, "v" * 10240)
    assert limited.client().get("k" * 64) == b"v" * 10240


def test_oversized_command(limited):
    assert b"limits.resp_args" in raw(limited, b"*101\r\n")
    assert limited.client().ping()


@pytest.mark.parametrize("frame, answer", [
    (b"*2\r\n$3\r\nGET\r\n:1\r\n", b"-ERR Protocol error: expected '$', got ':'"),
    (b"*x\r\n", b"-ERR Protocol error: invalid multibulk length"),
    (b"*1\r\n$-5\r\n", b"-ERR Protocol error: invalid bulk length"),
])
def test_a_broken_frame_is_answered_and_the_daemon_goes_on(limited, frame, answer):
    assert raw(limited, frame).startswith(answer)
    assert limited.client().ping()


def test_commands_before_a_broken_frame_are_answered(limited):
    assert raw(limited, b"*1\r\n$4\r\nPING\r\n*x\r\n").startswith(b"+PONG\r\n-ERR Protocol error")


def test_unknown_commands_and_wrong_arguments(limited):
    client = limited.client()
    for args, words in [(("NOSUCH",), "unknown command 'NOSUCH'"),
                        (("GET",), "wrong number of arguments for 'get' command"),
                        (("SET", "k", "v", "EX", "0"), "invalid expire time in 'set' command"),
                        (("SET", "k", "v", "EX", "ten"), "value is not an integer or out of range"),
                        (("SET", "k", "v", "NX", "XX"), "syntax error"),
                        (("SELECT", "99"), "DB index is out of range")]:
        with pytest.raises(redis.exceptions.ResponseError, match=words):
            client.execute_command(*args)
    client.set("text", "abc")
    with pytest.raises(redis.exceptions.ResponseError, match="not an integer"):
        client.incr("text")


def test_oversized_http(limited):
    path = "/v1/caches/default/entries/"
    status, _, body = limited.http("PUT", path + "k", b"v" * 10241, limited.auth)
    assert (status, b"limits.value" in body) == (413, True), body
    status, _, body = limited.http("PUT", path + "k" * 65, b"v", limited.auth)
    assert status in (400, 413, 414) and b"limits.key" in body, body
    answer = raw(limited, b"GET /" + b"a" * 1100 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", tcp=True)
    assert answer.startswith(b"HTTP/1.1 414 ") and b"limits.http_line" in answer
    answer = raw(limited, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nA: " + b"a" * 2100 + b"\r\n\r\n", tcp=True)
    assert answer.startswith(b"HTTP/1.1 431 ") and b"limits.http_header" in answer
    answer = raw(limited, b"GET\x00 / HTTP/1.1\r\n\r\n", tcp=True)
    assert answer.startswith(b"HTTP/1.1 400 ")
    status, _, body = limited.http("GET", "/healthz")
    assert status == 200


def test_the_api_needs_its_token(limited):
    status, _, body = limited.http("GET", "/v1/caches/default/entries/k")
    assert status == 401, body
    status, _, body = limited.http("PUT", "/v1/caches/default/entries/k", b"v", limited.auth)
    assert status == 204, body
    status, _, _ = limited.http("PUT", "/v1/caches/default/entries/k", b"v",
                                {**limited.auth, "Origin": "http://evil.example"})
    assert status == 403
    status, _, _ = limited.http("GET", "/v1/caches/default/entries/k", None,
                                {**limited.auth, "Host": "evil.example"})
    assert status in (403, 421)
