"""The HTTP front door with a real client, and with bytes no client sends."""

import json
import socket
import subprocess

import pytest

from harness import SLOW

ENTRY = "/v1/caches/default/entries/"


def curl(*args, stdin=None):
    return subprocess.run(["curl", "-sS", "--noproxy", "*", "--max-time", str(20 * SLOW), *args], input=stdin,
                          capture_output=True, check=True).stdout


def talk(daemon, data, unix=False):
    """Send everything, end our side, return everything that comes back."""
    s = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
    s.settimeout(10 * SLOW)
    s.connect(str(daemon.socket) if unix else ("127.0.0.1", daemon.port))
    s.sendall(data)
    s.shutdown(socket.SHUT_WR)
    answer = b""
    while chunk := s.recv(65536):
        answer += chunk
    s.close()
    return answer


def request(method, path, body=b"", headers=""):
    return (f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode()
            + body)


def test_curl_uploads_downloads_and_conditions(daemon, tmp_path):
    url = f"http://127.0.0.1:{daemon.port}{ENTRY}file"
    upload = tmp_path / "upload"
    upload.write_bytes(bytes(range(256)) * 8192)  # 2 MiB: curl sends Expect: 100-continue
    assert curl("-T", str(upload), "-w", "%{http_code}", url) == b"204"
    assert curl(url) == upload.read_bytes()
    assert curl("-T", "-", "-w", "%{http_code}", url, stdin=b"chunked") == b"204"
    assert curl(url) == b"chunked"
    assert curl("--etag-save", str(tmp_path / "etag"), url) == b"chunked"
    assert curl("--etag-compare", str(tmp_path / "etag"), "-w", "%{http_code}", url) == b"304"


def test_curl_over_the_unix_socket(daemon):
    assert curl("--unix-socket", str(daemon.socket), "-X", "PUT", "--data", "hello", "-w", "%{http_code}",
                f"http://cache{ENTRY}k") == b"204"
    assert daemon.client().get("k") == b"hello"


def test_pipelined_requests_are_answered_in_order(daemon):
    puts = b"".join(request("PUT", f"{ENTRY}{i}", b"value %d" % i) for i in range(200))
    gets = b"".join(request("GET", f"{ENTRY}{i}") for i in range(200))
    answer = talk(daemon, puts + gets)
    bodies = [part.split(b"\r\n\r\n", 1)[1] for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert bodies == [b""] * 200 + [b"value %d" % i for i in range(200)]


def test_a_later_request_sees_what_an_earlier_one_wrote_to_redis(daemons, redis_server):
    """The put waits for Redis; the get behind it on the same connection must not overtake it."""
    daemon = daemons("--redis", redis_server.address)
    for i in range(50):
        answer = talk(daemon, request("PUT", ENTRY + "k", b"value %d" % i) + request("GET", ENTRY + "k"))
        assert answer.endswith(b"\r\n\r\nvalue %d" % i), answer


def test_content_type_through_redis(daemons, redis_server):
    one, two = (daemons("--redis", redis_server.address) for _ in range(2))
    assert one.http("PUT", ENTRY + "k", b"<p>", {"Content-Type": "text/html"})[0] == 204
    status, headers, body = two.http("GET", ENTRY + "k")
    assert (status, headers["Content-Type"], body) == (200, "text/html", b"<p>")
    # Without a type there is nothing to keep beside the bytes: any other client of Redis can read them.
    assert one.http("PUT", ENTRY + "plain", b"bytes")[0] == 204
    assert redis_server.client().get("cachetastic:plain") == b"bytes"


@pytest.mark.parametrize("data, status", [
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400),
    (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    (b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
    (b"POST /v1/stats/reset HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n", 403),
])
def test_what_is_refused(daemon, data, status):
    answer = talk(daemon, data)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer
    assert json.loads(body)["error"]
    assert daemon.http("GET", "/healthz")[0] == 200


def test_a_refused_upload_is_not_waited_for(daemon):
    s = socket.create_connection(("127.0.0.1", daemon.port), timeout=10 * SLOW)
    s.sendall(b"PUT " + ENTRY.encode() + b"k HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 1000000\r\n\r\n")
    assert s.recv(65536).startswith(b"HTTP/1.1 421 ")
    s.close()


def test_api_of_an_admin_listener(daemons, tmp_path):
    (tmp_path / "token").write_text("secret\n")
    daemon = daemons(config=f"""
        workers = 1;
        api_token_file = "{tmp_path}/token";
        listen = ( {{{{ address = "unix:{{socket}}"; }}}},
                   {{{{ address = "127.0.0.1:{{port}}"; protocol = "http"; admin = true; }}}} );
    """)
    assert daemon.http("POST", "/v1/stats/reset")[0] == 204
    assert daemon.http("GET", "/metrics")[0] == 200
