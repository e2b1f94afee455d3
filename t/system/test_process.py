"""The process model: start, stop, drain, death of workers and of the master, sockets, limits."""

import json
import os
import pwd
import re
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import redis

from harness import DAEMON, SLOW, Daemon, children_of, end, free_port, wait_until

SLOTS = 64  # CLIENT ID is COUNT * SLOTS + SLOT


def config(extra="", listen=""):
    """A configuration with a RESP and an HTTP listener; braces doubled for Daemon's format()."""
    return f"""
        caches = ( {{{{ name = "default"; memory = "16M"; }}}} );
        listen = ( {{{{ address = "unix:{{socket}}"; }}}},
                   {{{{ address = "127.0.0.1:{{port}}"; protocol = "http"; }}}} {listen} );
        {extra}
    """


def exists(pid):
    """Whether the process runs: a zombie that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def ask(connection, *words):
    """Send one command and return the first line of the reply."""
    text = f"*{len(words)}\r\n" + "".join(f"${len(w)}\r\n{w}\r\n" for w in words)
    connection.sendall(text.encode())
    return read_line(connection)


def read_line(connection):
    line = b""
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            return line + b"EOF"
        line += byte
    return line


def read_all(connection):
    data = b""
    while True:
        try:
            more = connection.recv(65536)
        except ConnectionResetError:
            return data + b"RESET"
        if not more:
            return data
        data += more


def slot_of(connection):
    return int(ask(connection, "CLIENT", "ID")[1:]) % SLOTS


def in_slot(daemon, slot):
    """A new connection that is served by the worker in this slot; those that came elsewhere hold their places until
    one comes here, so that the balance brings it."""
    others = []
    for _ in range(20):
        connection = daemon.connect()
        if slot_of(connection) == slot:
            return connection
        others.append(connection)
    raise AssertionError(f"no connection of 20 came to slot {slot}: {daemon.stats()['workers']}")


def worker_log(daemon, words):
    return [line for line in daemon.log.read_text().splitlines() if words in line]


# --- start and stop


def test_start_and_term(daemon):
    workers = daemon.children()
    assert len(workers) == 2
    connection = daemon.connect()
    assert ask(connection, "PING") == b"+PONG\r\n"
    daemon.stop()
    assert connection.recv(1) == b""
    assert not daemon.socket.exists()
    assert not any(exists(pid) for pid in workers)


def test_interrupt_from_the_terminal(daemon):
    """^C reaches the whole process group; the master decides what it means."""
    for pid in [*daemon.children(), daemon.process.pid]:
        os.kill(pid, signal.SIGINT)
    assert daemon.process.wait(10 * SLOW) == 0
    assert not worker_log(daemon, "killed by signal")


def test_quit_finishes_the_request_in_flight(daemon):
    idle, busy, upload = daemon.connect(), daemon.connect(), daemon.connect(daemon.port)
    value = b"v" * 100000
    assert ask(idle, "PING") == b"+PONG\r\n"
    busy.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\n" + value[:50000])
    upload.sendall(b"PUT /v1/caches/default/entries/u HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n01234")
    wait_until(lambda: sum(w["connections"] for w in daemon.stats()["workers"]) >= 3, what="the connections")
    time.sleep(0.2)
    daemon.process.send_signal(signal.SIGQUIT)
    assert idle.recv(1) == b"", "an idle connection is closed"
    with pytest.raises(OSError):
        daemon.connect()
    assert daemon.process.poll() is None
    busy.sendall(value[50000:] + b"\r\n")
    assert read_line(busy) == b"+OK\r\n"
    assert busy.recv(1) == b""
    assert daemon.process.poll() is None
    upload.sendall(b"56789")
    assert read_line(upload).startswith(b"HTTP/1.1 20")
    upload.close()
    assert daemon.process.wait(10 * SLOW) == 0


def test_quit_waits_only_so_long(daemons):
    daemon = daemons(config=config('limits: {{ drain_timeout = "300ms"; }};'))
    connection = daemon.connect()
    connection.sendall(b"*2\r\n$3\r\nGET\r\n")
    time.sleep(0.2)
    daemon.process.send_signal(signal.SIGQUIT)
    assert daemon.process.wait(10 * SLOW) == 0
    assert worker_log(daemon, "limits.drain_timeout")
    connection.close()


def test_pid_file_and_log_file(daemons, tmp_path):
    daemon = daemons(config=config('pid_file = "{directory}/pid"; log_file = "{directory}/log"; workers = 2;'))
    pid_file, log = daemon.directory / "pid", daemon.directory / "log"
    assert int(pid_file.read_text()) == daemon.process.pid
    log.rename(daemon.directory / "log.1")
    daemon.process.send_signal(signal.SIGUSR1)
    wait_until(log.exists, what="the new log")
    time.sleep(0.2)
    # Both the master and the workers write to the new one.
    daemon.process.send_signal(signal.SIGHUP)
    daemon.process.send_signal(signal.SIGQUIT)
    assert daemon.process.wait(10 * SLOW) == 0
    text = log.read_text()
    assert "HUP: reloading the configuration is not available" in text
    assert "[worker 0] draining" in text and "[worker 1] draining" in text
    assert not pid_file.exists()


def test_in_the_background(tmp_path):
    """--daemon returns when the daemon serves."""
    path = tmp_path / "c.conf"
    path.write_text(config('pid_file = "{directory}/pid"; log_file = "{directory}/log";')
                    .format(socket=tmp_path / "s", port=free_port(), directory=tmp_path))
    argv = [str(DAEMON), "-c", str(path), "--daemon"]
    started = subprocess.run(argv, capture_output=True, timeout=30 * SLOW)
    assert started.returncode == 0, started.stderr
    pid = int((tmp_path / "pid").read_text())
    assert redis.Redis(unix_socket_path=str(tmp_path / "s")).ping()
    again = subprocess.run(argv, capture_output=True, timeout=30 * SLOW)
    assert again.returncode == 1
    assert b"already in use" in again.stderr
    assert exists(pid)
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not exists(pid), what="the end of the daemon")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give it up")
def test_workers_run_as_the_configured_user(daemons):
    daemon = daemons(config=config('user = "nobody"; workers = 2;'))
    nobody = pwd.getpwnam("nobody")
    assert len(daemon.children()) == 2
    for pid in daemon.children():
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        assert status["Uid"].split() == [str(nobody.pw_uid)] * 4
        assert status["Gid"].split() == [str(nobody.pw_gid)] * 4
        assert "0" not in status["Groups"].split()
    assert daemon.client().set("k", "v") and daemon.client().get("k") == b"v"
    # Giving up root must not have undone that they end with the master.
    workers = daemon.children()
    daemon.process.kill()
    daemon.process.wait()
    wait_until(lambda: not any(exists(pid) for pid in workers), 2, "the workers' end")


# --- sockets


def test_a_second_daemon_is_refused(daemon, tmp_path):
    second = Daemon(tmp_path / "second", "--workers", "1", "--memory", "16M", start=False)
    second.argv[second.argv.index("--socket") + 1] = str(daemon.socket)
    refused = subprocess.run(second.argv, capture_output=True, timeout=30 * SLOW, cwd=tmp_path)
    assert refused.returncode == 1
    assert f"{daemon.socket} is already in use by a running daemon".encode() in refused.stderr
    second = Daemon(tmp_path / "third", "--workers", "1", "--memory", "16M", start=False)
    second.argv[second.argv.index("--http") + 1] = f"127.0.0.1:{daemon.port}"
    refused = subprocess.run(second.argv, capture_output=True, timeout=30 * SLOW, cwd=tmp_path)
    assert refused.returncode == 1
    assert b"Address already in use" in refused.stderr
    assert not second.socket.exists(), "what was opened before the error is removed"
    assert daemon.client().ping()


def test_a_stale_socket_is_replaced(daemon):
    daemon.process.kill()
    daemon.process.wait()
    assert daemon.socket.exists()
    daemon.start()
    assert daemon.client().ping()


def test_a_missing_directory_is_named(tmp_path):
    daemon = Daemon(tmp_path / "d", "--memory", "16M", start=False)
    daemon.argv[daemon.argv.index("--socket") + 1] = str(tmp_path / "nowhere" / "s")
    refused = subprocess.run(daemon.argv, capture_output=True, timeout=30 * SLOW, cwd=tmp_path)
    assert refused.returncode == 1
    assert f"{tmp_path}/nowhere: No such file or directory".encode() in refused.stderr


def test_more_memory_than_the_machine_has_is_refused_with_both_figures(tmp_path):
    daemon = Daemon(tmp_path / "d", "--memory", "1T", start=False)
    refused = subprocess.run(daemon.argv, capture_output=True, timeout=30 * SLOW, cwd=tmp_path)
    assert refused.returncode == 1
    assert re.search(rb"cache default: asked 1T, the machine has [0-9.]+[KMGT] available \(", refused.stderr)


def test_unix_connections_are_balanced(daemon):
    connections, slots = [], []
    for _ in range(100):
        connections.append(daemon.connect())
        slots.append(slot_of(connections[-1]))
    assert slots.count(0) + slots.count(1) == 100
    assert 48 <= slots.count(0) <= 52
    for connection in connections:
        assert ask(connection, "PING") == b"+PONG\r\n"


# --- death


def test_each_worker_killed_in_turn(daemon):
    daemon.client().mset({f"k{i}": f"v{i}" for i in range(1000)})
    for slot in (0, 1, 0):
        victim = daemon.stats()["workers"][slot]["pid"]
        other = in_slot(daemon, 1 - slot)
        doomed = in_slot(daemon, slot)
        os.kill(victim, signal.SIGKILL)
        assert read_all(doomed) in (b"", b"RESET")
        # Connections of the other worker do not notice, before, during and after the repair.
        for i in range(200):
            assert ask(other, "SET", f"during{i}", "x") == b"+OK\r\n"
        wait_until(lambda: victim not in daemon.worker_pids() and daemon.serves(), what="a new worker")
        assert daemon.client().mget([f"k{i}" for i in range(1000)]) == [b"v%d" % i for i in range(1000)]
        assert in_slot(daemon, slot)
        daemon.check()
        time.sleep(1.1)  # not a crash loop
    assert len(worker_log(daemon, "killed by signal 9")) == 3
    assert not worker_log(daemon, "keeps dying")


def benchmark_in_slot(daemon, slot):
    """A redis-benchmark with one connection, which the slot's worker serves: found by whose requests grow. Those that
    came elsewhere hold their places until one comes here, so that the balance brings it."""
    elsewhere = []
    try:
        for _ in range(12):
            before = [w["requests"] for w in daemon.stats()["workers"]]
            bench = subprocess.Popen(["redis-benchmark", "-s", str(daemon.socket), "-c", "1", "-n", "100000000", "-r",
                                      "1000", "-d", "100", "-t", "set"],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

            def busiest():
                grown = [w["requests"] - b for w, b in zip(daemon.stats()["workers"], before)]
                return grown.index(max(grown)) + 1 if max(grown) > 1000 else 0
            if wait_until(busiest, what="the load") == slot + 1:
                return bench
            bench.send_signal(signal.SIGSTOP)
            elsewhere.append(bench)
        raise AssertionError(f"no connection came to slot {slot}")
    finally:
        for bench in elsewhere:
            bench.kill()
            bench.wait()


def test_killing_each_worker_in_turn_leaves_the_others_load_alone(daemons):
    daemon = daemons("--workers", "3", "--memory", "32M")
    daemon.client().mset({f"kept{i}": f"v{i}" for i in range(1000)})
    for slot in range(3):
        survivor = (slot + 1) % 3
        bench = benchmark_in_slot(daemon, survivor)
        try:
            victim = daemon.stats()["workers"][slot]["pid"]
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda: daemon.stats()["workers"][slot]["pid"] not in (0, victim), what="a new worker")
            served = daemon.stats()["workers"][survivor]["requests"]
            wait_until(lambda: daemon.stats()["workers"][survivor]["requests"] > served + 2000,
                       what="the load going on")
            # redis-benchmark ends at the first error.
            assert bench.poll() is None
        finally:
            bench.kill()
            bench.wait()
        assert daemon.client().mget([f"kept{i}" for i in range(1000)]) == [b"v%d" % i for i in range(1000)]
        daemon.check()


def test_stats_survive_a_worker(daemon):
    connection = in_slot(daemon, 0)
    for i in range(10):
        ask(connection, "SET", f"k{i}", "v")
    before = daemon.stats()["caches"]["default"]["puts"]
    assert before == 10
    os.kill(daemon.stats()["workers"][0]["pid"], signal.SIGKILL)
    wait_until(lambda: len(daemon.children()) == 2, what="a new worker")
    assert daemon.stats()["caches"]["default"]["puts"] == before


def test_deaths_leak_no_descriptors(daemons):
    daemon = daemons(config=config('workers = 2; respawn_min = "1ms"; respawn_max = "1ms";'))

    def descriptors():
        return sorted(len(os.listdir(f"/proc/{pid}/fd")) for pid in [daemon.process.pid, *daemon.children()])

    def kill_one():
        victim = daemon.children()[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: victim not in daemon.worker_pids() and daemon.serves(), what="a new worker")
    kill_one()
    kill_one()
    time.sleep(0.5)  # the test's own connections are gone
    before = descriptors()
    for _ in range(10):
        kill_one()
    wait_until(lambda: descriptors() == before, 5, "the same number of descriptors")


@pytest.mark.parametrize("workers", ["1", "3"])
def test_workers_die_with_the_master(daemons, workers):
    daemon = daemons("--workers", workers, "--memory", "16M")
    pids = daemon.children()
    assert len(pids) == int(workers)
    daemon.process.kill()
    daemon.process.wait()
    wait_until(lambda: not any(exists(pid) for pid in pids), 1, "the workers' end")


def test_a_slot_without_a_worker_is_adopted(daemons):
    """The slot stays empty for 20 s; meanwhile every connection to it is served by the other worker."""
    port = free_port()
    daemon = daemons(config=config(
        'workers = 2; respawn_min = "20s"; respawn_max = "20s";',
        f', {{{{ address = "127.0.0.1:{port}"; protocol = "resp"; }}}}'))
    first = daemon.stats()["workers"][0]["pid"]
    wait_until(lambda: {slot_of(daemon.connect(port)) for _ in range(20)} == {0, 1},
               what="TCP connections in both slots")
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: len(worker_log(daemon, "started worker 0")) == 2, what="the second worker")
    second = wait_until(lambda: daemon.stats()["workers"][0]["pid"], what="its pid")
    os.kill(second, signal.SIGKILL)
    wait_until(lambda: worker_log(daemon, "worker 0 keeps dying: next start in 20000 ms"), what="the back-off")
    longest = 0
    for _ in range(60):
        begin = time.monotonic()
        with daemon.connect(port) as tcp, daemon.connect() as local:
            assert slot_of(tcp) == 1
            assert slot_of(local) == 1
        longest = max(longest, time.monotonic() - begin)
    assert longest < 5 * SLOW, "the slot would have been empty for four times as long"
    assert len(daemon.children()) == 1


def test_a_crash_loop_backs_off_and_heals(daemons):
    daemon = daemons(config=config('workers = 2; respawn_min = "20ms"; respawn_max = "80ms";'))
    connection = in_slot(daemon, 1)
    other = daemon.stats()["workers"][1]["pid"]
    for _ in range(8):
        victim = wait_until(lambda: [pid for pid in daemon.children() if pid != other], what="a worker to kill")[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: victim not in daemon.children(), what="its end")
        assert ask(connection, "PING") == b"+PONG\r\n"
    delays = [int(line.split(" in ")[1].split()[0]) for line in worker_log(daemon, "keeps dying")]
    assert delays == [20, 40, 80, 80, 80, 80, 80][:len(delays)] and len(delays) >= 3
    wait_until(lambda: {slot_of(daemon.connect()) for _ in range(10)} == {0, 1}, what="both slots serving again")
    daemon.check()


def test_many_deaths_under_load(daemons):
    """Workers killed at random under load, one at a time: what the survivors serve stays right, the validator clean."""
    daemon = daemons("--workers", "2", "--memory", "16M")
    bench = subprocess.Popen(["redis-benchmark", "-s", str(daemon.socket), "-q", "-n", "100000000", "-c", "8", "-r", "2000",
                              "-d", "200", "-P", "8", "-t", "set"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(6):
            time.sleep(0.3)
            victims = daemon.children()
            os.kill(victims[0], signal.SIGKILL)
            wait_until(lambda: victims[0] not in daemon.worker_pids() and daemon.serves(), what="both workers")
            if bench.poll() is not None:  # it gives up when its connections break
                bench = subprocess.Popen(bench.args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    finally:
        bench.kill()
        bench.wait()
    daemon.check()


# --- limits and clients that misbehave


def test_connection_limit(daemons):
    daemon = daemons(config=config("workers = 1; limits: {{ connections = 8; }};"))
    first = daemon.client(single_connection_client=True)
    wait_until(lambda: json.loads(first.execute_command("CACHETASTIC.STATS"))["workers"][0]["connections"] == 1,
               what="the connections of the start being gone")
    held = [daemon.connect() for _ in range(7)]
    for connection in held:
        assert ask(connection, "PING") == b"+PONG\r\n"
    assert read_all(daemon.connect()) == b"-ERR max number of clients reached (limits.connections)\r\n"
    assert read_all(daemon.connect(daemon.port)).startswith(b"HTTP/1.1 503 ")
    held.pop().close()
    wait_until(daemon.serves, what="a free place")


def test_no_descriptors_left(daemons):
    """Connections that cannot be accepted wait in the kernel, and are served when there is room again."""
    daemon = daemons("--workers", "1", "--memory", "16M")
    worker = daemon.children()[0]
    wait_until(lambda: daemon.stats()["workers"][0]["connections"] <= 1, what="the start's connections being gone")
    room = max(int(fd) for fd in os.listdir(f"/proc/{worker}/fd")) + 4
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (room, room))
    connections = [daemon.connect() for _ in range(20)]
    wait_until(lambda: worker_log(daemon, "cannot accept connections: Too many open files"), what="the log line")
    assert ask(connections[0], "PING") == b"+PONG\r\n"
    served = 0
    while connections:
        assert ask(connections[0], "PING") == b"+PONG\r\n"
        connections.pop(0).close()
        served += 1
    assert served == 20
    assert len(worker_log(daemon, "cannot accept connections")) == 1


def test_a_client_that_does_not_read_is_dropped(daemons):
    daemon = daemons(config=config('workers = 1; limits: {{ output = "1M"; }};'))
    daemon.client().set("k", b"x" * 1500000)
    greedy, polite = daemon.connect(), daemon.connect()
    greedy.sendall(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n" * 100)
    assert ask(polite, "PING") == b"+PONG\r\n"
    wait_until(lambda: worker_log(daemon, "limits.output"), 20, "the drop")
    got = read_all(greedy)
    assert len(got) < 100 * 1500000
    assert ask(polite, "PING") == b"+PONG\r\n"


def test_a_client_that_reads_slowly_gets_everything(daemons):
    daemon = daemons(config=config('workers = 1; limits: {{ output = "1M"; }};'))
    daemon.client().set("k", b"x" * 1500000)
    slow = daemon.connect()
    slow.sendall(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n" * 20)
    total = 20 * (1500000 + len(b"$1500000\r\n\r\n"))
    got = 0
    while got < total:
        time.sleep(0.01)
        got += len(slow.recv(1 << 20))
    assert got == total


def test_half_closed_client(daemon):
    connection = daemon.connect()
    connection.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n" + b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n" * 3)
    connection.shutdown(socket.SHUT_WR)
    assert read_all(connection) == b"+OK\r\n" + b"$1\r\nv\r\n" * 3


def test_protocols_are_told_apart(daemons):
    port = free_port()
    daemon = daemons(config=config("", f', {{{{ address = "127.0.0.1:{port}"; protocol = "resp"; }}}}'))

    def talk(data, to=None):
        with daemon.connect(to) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return read_all(connection)
    assert talk(b"PING\r\n") == b"+PONG\r\n"
    assert talk(b"*1\r\n$4\r\nPING\r\n") == b"+PONG\r\n"
    assert talk(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    assert talk(b"get k\r\n") == b"END\r\n"
    assert talk(b"version\r\n").startswith(b"VERSION ")
    assert talk(b"\x80\x0b" + bytes(22)).endswith(b"1.6.18")
    assert talk(b"set k v\r\nget k\r\n", port) == b"+OK\r\n$1\r\nv\r\n"
    refused = talk(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", port)
    assert refused.startswith(b"HTTP/1.1 400 ") and b"resp only" in refused


def test_a_slow_request_head(daemons):
    daemon = daemons(config=config('limits: {{ header_timeout = "200ms"; }};'))
    for port in (daemon.port, None):
        connection = daemon.connect(port)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: loc")
        assert read_all(connection).startswith(b"HTTP/1.1 408 ")


def test_idle_connections(daemons):
    daemon = daemons(config=config('limits: {{ idle_timeout = "300ms"; }};'))
    idle = daemon.connect()
    assert ask(idle, "PING") == b"+PONG\r\n"
    assert read_all(idle) == b""


def test_many_idle_connections_cost_little(daemons):
    daemon = daemons("--workers", "1", "--memory", "16M")
    worker = daemon.children()[0]

    def private():
        rollup = Path(f"/proc/{worker}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) << 10 for line in rollup if line.startswith("Private_"))
    connections = [daemon.connect() for _ in range(100)]  # what the first ones cost is not per connection
    for connection in connections:
        assert ask(connection, "PING") == b"+PONG\r\n"
    before = private()
    more = [daemon.connect() for _ in range(500)]
    for connection in more:
        assert ask(connection, "PING") == b"+PONG\r\n"
    if SLOW == 1:  # a sanitizer's allocator has its own overhead
        assert (private() - before) / 500 < 4096
    assert end(daemon.process) == 0
