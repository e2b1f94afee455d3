"""CLIENT LIST and KILL: the connections of every worker, whoever is asked."""

import os
import signal
import time

import pytest
import redis

from harness import SLOW, wait_until


def of_each_worker(daemon):
    clients = {}
    for _ in range(64):
        client = daemon.client(single_connection_client=True)
        worker = client.info("server")["worker"]
        if worker not in clients:
            client.client_setname(f"of-{worker}")
            clients[worker] = client
        if len(clients) == 3:
            return clients
    raise AssertionError(f"connections of {len(clients)} workers only")


@pytest.fixture
def three(daemons):
    return daemons("--workers", "3", "--memory", "16M")


def test_list_has_them_all(three):
    clients = of_each_worker(three)
    for client in clients.values():
        listed = client.client_list()
        assert {f"of-{worker}" for worker in clients} <= {entry["name"] for entry in listed}
        assert len({entry["id"] for entry in listed}) == len(listed)
    # In a pipeline the answers keep their order.
    pipe = clients[min(clients)].pipeline(transaction=False)
    pipe.set("k", "v").client_list().get("k")
    stored, listed, value = pipe.execute()
    assert stored and len(listed) >= 3 and value == b"v"


def test_kill_by_id_wherever_it_is(three):
    clients = of_each_worker(three)
    asks = clients.pop(min(clients))
    for client in clients.values():
        number = client.client_id()
        assert asks.execute_command("CLIENT", "KILL", "ID", number) == 1
        with pytest.raises(redis.exceptions.ConnectionError):
            client.connection.send_command("PING")
            client.connection.read_response()
        assert asks.execute_command("CLIENT", "KILL", "ID", number) == 0


def test_kill_by_address(daemons):
    daemon = daemons(config='workers = 3; listen = ( {{ address = "unix:{socket}"; }}, {{ address = "127.0.0.1:{port}"; }} );\n'
                            'caches = ( {{ name = "default"; memory = "8M"; }} );\n')
    victim = redis.Redis(port=daemon.port, single_connection_client=True)
    host, port = victim.connection._sock.getsockname()
    victim.ping()
    asks = daemon.client(single_connection_client=True)
    with pytest.raises(redis.exceptions.ResponseError, match="No such client"):
        asks.execute_command("CLIENT", "KILL", "127.0.0.1:1")
    assert asks.execute_command("CLIENT", "KILL", f"{host}:{port}") == b"OK"
    with pytest.raises(redis.exceptions.ConnectionError):
        victim.connection.send_command("PING")
        victim.connection.read_response()


def test_a_worker_that_does_not_answer_is_left_out(three):
    clients = of_each_worker(three)
    asks = clients[min(clients)]
    asked_pid = asks.info("server")["process_id"]
    stopped = next(pid for pid in three.worker_pids() if pid != asked_pid)
    os.kill(stopped, signal.SIGSTOP)
    try:
        began = time.monotonic()
        names = {entry["name"] for entry in asks.client_list()}
        assert time.monotonic() - began < 5 * SLOW
        assert len([name for name in names if name.startswith("of-")]) == 2
        assert daemon_serves(three)
    finally:
        os.kill(stopped, signal.SIGCONT)
    wait_until(lambda: len({e["name"] for e in asks.client_list() if e["name"].startswith("of-")}) == 3,
               what="all of them")


def daemon_serves(daemon):
    return daemon.worker_pids() != []
