"""Listeners: a socket's mode, owner and group, a protocol and a cache that it is for, and turns that connections take."""

import grp
import os
import pwd
import socket
import stat
import subprocess
import threading
import time

import pytest
from harness import SLOW


def talk(daemon, path, data):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(20 * SLOW)
        s.connect(str(daemon.directory / path))
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: s.recv(65536), b""))


def test_mode_owner_and_group(daemons):
    if os.getuid() != 0:
        pytest.skip("only root gives files away")
    nobody = pwd.getpwnam("nobody")
    group = grp.getgrnam("daemon")
    daemon = daemons(config='workers = 1; user = "nobody";\n'
                            'listen = ( {{ address = "unix:{socket}"; }},\n'
                            '  {{ address = "unix:{directory}/open.sock"; mode = "0666"; }},\n'
                            '  {{ address = "unix:{directory}/own.sock"; mode = "0600"; owner = "nobody"; group = "daemon"; }} );\n'
                            'caches = ( {{ name = "default"; memory = "8M"; }} );\n')
    default, public, own = (os.stat(path) for path in (daemon.socket, daemon.directory / "open.sock",
                                                       daemon.directory / "own.sock"))
    assert stat.S_IMODE(default.st_mode) == 0o660 and stat.S_IMODE(public.st_mode) == 0o666
    assert stat.S_IMODE(own.st_mode) == 0o600 and (own.st_uid, own.st_gid) == (nobody.pw_uid, group.gr_gid)
    # And the kernel keeps to it: another user connects to the one that is open to all.
    for parent in [daemon.directory, *daemon.directory.parents]:
        if parent.stat().st_uid == 0 and str(parent).startswith("/tmp/"):
            os.chmod(parent, parent.stat().st_mode | 0o011)
    script = ("import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
              "s.sendall(b'PING\\r\\n'); print(s.recv(100))")

    def as_daemon(path):
        return subprocess.run(["/usr/bin/python3", "-c", script, str(path)], capture_output=True, text=True,
                              user="daemon", group="daemon", extra_groups=[])
    assert "PONG" in as_daemon(daemon.directory / "open.sock").stdout
    for path in (daemon.socket, daemon.directory / "own.sock"):
        assert "PermissionError" in as_daemon(path).stderr, path


def test_an_unknown_owner_is_named(tmp_path):
    from harness import DAEMON
    path = tmp_path / "c.conf"
    path.write_text(f'listen = ( {{ address = "unix:{tmp_path}/s"; owner = "no-such-user"; }} );\n')
    result = subprocess.run([str(DAEMON), "-c", str(path)], capture_output=True, text=True, timeout=20 * SLOW)
    assert result.returncode != 0 and "no-such-user" in result.stderr


def test_protocol_and_cache_of_a_socket(daemons):
    daemon = daemons(config='workers = 2;\n'
                            'listen = ( {{ address = "unix:{socket}"; }},\n'
                            '  {{ address = "unix:{directory}/r.sock"; protocol = "resp"; cache = "sessions"; }},\n'
                            '  {{ address = "unix:{directory}/m.sock"; protocol = "memcached"; cache = "pages"; }} );\n'
                            'caches = ( {{ name = "default"; memory = "8M"; }}, {{ name = "sessions"; memory = "8M"; }},\n'
                            '  {{ name = "pages"; memory = "8M"; backend = "memory"; }} );\n')
    assert talk(daemon, "r.sock", b"set k s\r\nget k\r\n") == b"+OK\r\n$1\r\ns\r\n"  # inline, which is memcached elsewhere
    assert talk(daemon, "m.sock", b"set k 0 0 1\r\np\r\nget k\r\n") == b"STORED\r\nVALUE k 0 1\r\np\r\nEND\r\n"
    assert daemon.client().get("k") is None
    assert daemon.cache("sessions").get("k") == b"s" and daemon.cache("pages").get("k") == b"p"
    assert talk(daemon, "r.sock", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_a_long_pipeline_leaves_others_their_turns(daemons):
    daemon = daemons(config='workers = 1; limits = {{ pipeline = "16K"; output = "64M"; }};\n'
                            'listen = ( {{ address = "unix:{socket}"; }} );\n'
                            'caches = ( {{ name = "default"; memory = "16M"; }} );\n')
    other = daemon.client()
    other.set("k", "v")
    request = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"
    n = 400000
    took = []
    with daemon.connect() as greedy:
        greedy.settimeout(60 * SLOW)
        done = threading.Event()

        def read():
            left = n * len(b"$1\r\nv\r\n")
            while left:
                left -= len(greedy.recv(min(left, 1 << 20)))
            done.set()
        reader = threading.Thread(target=read)
        writer = threading.Thread(target=greedy.sendall, args=(request * n,))
        reader.start()
        writer.start()
        while not done.is_set():
            began = time.monotonic()
            assert other.get("k") == b"v"
            took.append(time.monotonic() - began)
        reader.join()
        writer.join()
    # All of it at once would take some hundred milliseconds; a turn is 16 KiB of requests.
    assert len(took) > 20 and sorted(took)[len(took) // 2] < 0.05 * SLOW
