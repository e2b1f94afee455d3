"""Fixtures: a daemon or a Redis server of one's own, ended with the test."""

import pytest

from harness import Daemon, RedisServer


@pytest.fixture
def daemons(tmp_path):
    """daemons(*flags, config=...) starts a daemon; all still running at the end are stopped, and must stop cleanly."""
    started = []

    def make(*flags, config=None, start=True):
        daemon = Daemon(tmp_path / f"d{len(started)}", *flags, config=config, start=start)
        started.append(daemon)
        return daemon

    yield make
    for daemon in started:
        if daemon.process is not None and daemon.process.poll() is None:
            daemon.stop()


@pytest.fixture
def daemon(daemons):
    """A daemon on small defaults: two workers, no Redis."""
    return daemons("--workers", "2", "--memory", "32M")


@pytest.fixture
def redis_server(tmp_path):
    server = RedisServer(tmp_path / "redis")
    yield server
    server.stop()
