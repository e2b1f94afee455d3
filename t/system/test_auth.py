"""Users: login over RESP and HTTP, rights on each cache, trusted peers of a unix socket."""

import base64
import hashlib
import os
import subprocess

import pytest
import redis

from harness import Daemon, free_port

SECRET, READER = "a-long-secret", "another-secret"


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


CONFIG = f"""
workers = 2;
listen = ( {{{{ address = "unix:{{socket}}"; trust_users = [ "{os.getuid()}" ]; trust_as = "peer"; }}}},
           {{{{ address = "unix:{{directory}}/closed.sock"; mode = "0600"; }}}},
           {{{{ address = "127.0.0.1:{{port}}"; }}}} );
caches = ( {{{{ name = "other"; memory = "8M"; resp_db = 1; }}}} );
users = ( {{{{ name = "default"; password_sha256 = "{digest(SECRET)}"; rights = [ "default: read write purge" ]; }}}},
          {{{{ name = "reader"; password_sha256 = "{digest(READER)}"; rights = [ "*: read" ]; }}}},
          {{{{ name = "peer"; rights = [ "*: all" ]; }}}} );
"""


@pytest.fixture
def daemon(daemons):
    return daemons(config=CONFIG)


def closed(daemon, **options):
    return redis.Redis(unix_socket_path=str(daemon.directory / "closed.sock"), single_connection_client=False, **options)


def refused(client, *args, match):
    with pytest.raises(redis.exceptions.ResponseError, match=match):
        client.execute_command(*args)


def test_a_trusted_peer_needs_no_password(daemon):
    client = daemon.client()
    assert client.set("k", "v") and client.get("k") == b"v"
    client.execute_command("CACHETASTIC.RESET")
    assert b"user=peer" in client.execute_command("CLIENT", "INFO")


@pytest.mark.parametrize("where", ["unix", "tcp"])
def test_without_a_login_nothing_is_done(daemon, where):
    stream = redis.Connection(port=daemon.port) if where == "tcp" else redis.UnixDomainSocketConnection(
        path=str(daemon.directory / "closed.sock"))
    stream.connect()
    for command in ("GET k", "SET k v", "PING", "INFO", "NOSUCH", "CACHETASTIC.STATS", "COMMAND", "CACHETASTIC.ATTACH",
                    "CACHETASTIC.FETCH k"):
        stream.send_command(*command.split())
        with pytest.raises(redis.exceptions.AuthenticationError, match="Authentication required"):
            stream.read_response()
    stream.send_command("HELLO", "3")
    with pytest.raises(redis.exceptions.AuthenticationError, match="HELLO must be called"):
        stream.read_response()
    stream.send_command("AUTH", "wrong")
    with pytest.raises(redis.exceptions.ResponseError, match="invalid username-password pair"):
        stream.read_response()
    stream.send_command("AUTH", "reader", SECRET)
    with pytest.raises(redis.exceptions.ResponseError, match="invalid username-password pair"):
        stream.read_response()
    stream.send_command("HELLO", "2", "AUTH", "default", SECRET, "SETNAME", "me")
    assert b"version" in stream.read_response()
    stream.send_command("SET", "k", "v")
    assert stream.read_response() == b"OK"
    stream.send_command("RESET")
    stream.read_response()
    stream.send_command("GET", "k")
    with pytest.raises(redis.exceptions.AuthenticationError):
        stream.read_response()
    stream.disconnect()


def test_a_stranger_may_send_little(daemon):
    raw = daemon.connect(daemon.port)
    raw.sendall(b"*2\r\n$4\r\nAUTH\r\n$1000000\r\n")
    assert raw.recv(200).startswith(b"-ERR Protocol error")


def test_redis_py_logs_in_with_and_without_a_name(daemon):
    assert closed(daemon, password=SECRET).ping()
    assert closed(daemon, username="reader", password=READER).ping()
    with pytest.raises(redis.exceptions.ResponseError, match="WRONGPASS|invalid username"):
        closed(daemon, username="reader", password="x").ping()


def test_rights_are_per_cache(daemon):
    writer, reader = closed(daemon, password=SECRET), closed(daemon, username="reader", password=READER)
    assert writer.set("k", "v") and reader.get("k") == b"v"
    refused(reader, "SET", "k", "w", match="no permissions to run the 'set' command on the cache 'default'.*write")
    refused(reader, "GETDEL", "k", match="no permissions")
    refused(reader, "CACHETASTIC.FETCH", "k", match="no permissions")
    refused(reader, "FLUSHDB", match="no permissions.*purge")
    refused(reader, "CACHETASTIC.PURGE", "PATTERN", "*", match="no permissions")
    refused(writer, "CACHETASTIC.CHECK", match="no permissions.*admin")
    refused(writer, "CACHETASTIC.RESET", match="no permissions.*admin")
    assert reader.get("k") == b"v"
    other = closed(daemon, password=SECRET, db=1)
    refused(other, "GET", "k", match="on the cache 'other'.*read")
    assert closed(daemon, username="reader", password=READER, db=1).get("k") is None
    assert writer.flushdb() is not None
    assert reader.get("k") is None


def basic(name, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def test_http(daemon):
    entry = "/v1/caches/default/entries/k"
    status, headers, body = daemon.http("GET", entry)
    assert status == 401 and headers["WWW-Authenticate"].startswith("Basic")
    for wrong in (basic("default", "x"), basic("reader", SECRET), {"Authorization": "Bearer x"},
                  {"Authorization": "Basic !!"}, {"Authorization": "Digest x"}):
        assert daemon.http("PUT", entry, b"v", wrong)[0] == 401
    assert daemon.http("PUT", entry, b"v", basic("default", SECRET))[0] == 204
    bearer = {"Authorization": f"Bearer {READER}"}
    assert daemon.http("GET", entry, headers=bearer)[2] == b"v"
    for method, path in (("PUT", entry), ("DELETE", entry), ("DELETE", "/v1/caches/default"),
                         ("POST", "/v1/caches/default/purge?pattern=*"), ("POST", "/v1/stats/reset")):
        status, _, body = daemon.http(method, path, b"" if method == "PUT" else None, bearer)
        assert status == 403 and b"users.rights" in body, (method, path)
    assert daemon.http("GET", entry + "?fetch", headers=bearer)[0] == 403
    assert daemon.http("GET", "/v1/caches/other/entries/k", headers=basic("default", SECRET))[0] == 403
    assert daemon.http("DELETE", "/v1/caches/default", headers=basic("default", SECRET))[0] == 200
    assert daemon.http("GET", "/healthz")[0] == 200


def test_dump_config_masks(daemon):
    import subprocess
    from harness import DAEMON
    text = subprocess.run([str(DAEMON), "-c", str(daemon.directory / "cachetastic.conf"), "--dump-config"],
                          capture_output=True, text=True, check=True).stdout
    assert digest(SECRET) not in text and "password of default is set" in text


def test_cachetasticctl_logs_in(daemon, tmp_path):
    from harness import CTL

    def ctl(*args, password=None):
        environment = {**os.environ, "CACHETASTIC_PASSWORD": password} if password else None
        return subprocess.run([str(CTL), "-s", str(daemon.directory / "closed.sock"), *args], capture_output=True,
                              env=environment)
    refused = ctl("get", "k")
    assert refused.returncode == 2 and b"Authentication required" in refused.stderr
    assert ctl("put", "k", "v", password=SECRET).returncode == 0
    assert ctl("get", "k", password=SECRET).stdout == b"v"
    assert b"WRONGPASS" in ctl("get", "k", password="wrong").stderr
    (tmp_path / "secret").write_text(READER + "\nnot this\n")
    as_reader = ("--user", "reader", "--password-file", str(tmp_path / "secret"))
    assert ctl(*as_reader, "get", "k").stdout == b"v"
    assert b"no permissions" in ctl(*as_reader, "put", "k", "w").stderr
    assert b"--user needs a password" in ctl("--user", "reader", "get", "k").stderr
    assert b"secret2" in ctl("--password-file", str(tmp_path / "secret2"), "get", "k").stderr


def test_libcachetastic_logs_in(daemon):
    from test_direct import MISS, OK, Handle
    denied = -7
    socket = daemon.directory / "closed.sock"
    handle = Handle(socket, password=SECRET.encode())
    assert handle.put(b"k", b"v") == OK and handle.get(b"k") == (OK, b"v")
    handle.close()
    handle = Handle(socket, user=b"reader", password=READER.encode())
    assert handle.get(b"k") == (OK, b"v") and handle.put(b"k", b"w") == denied and "write" in handle.error()
    assert handle.get(b"none")[0] == MISS
    handle.close()
    for wrong in ({}, {"password": b"wrong"}, {"user": b"nobody", "password": SECRET.encode()}):
        handle = Handle(socket, **wrong)
        assert handle.get(b"k")[0] == denied, handle.error()
        handle.close()
