"""cachetastic.dogpile with a real dogpile.cache."""

import subprocess
import threading
import time

import pytest

import python_package
from harness import SLOW, Daemon, wait_until

if not python_package.use():
    pytest.skip("the library is built with a sanitizer only", allow_module_level=True)

from dogpile.cache import make_region  # noqa: E402
from dogpile.cache.api import NO_VALUE  # noqa: E402

import cachetastic  # noqa: E402
import cachetastic.dogpile  # noqa: E402,F401

CONFIG = """
listen = ( {{ address = "unix:{socket}"; }} );
caches = ( {{ name = "default"; memory = "32M"; direct = true; direct_trust = true; }} );
workers = 2;
"""


@pytest.fixture
def daemon(tmp_path):
    daemon = Daemon(tmp_path / "d", config=CONFIG)
    yield daemon
    daemon.stop()


@pytest.fixture
def region(daemon):
    return open_region(daemon)


def open_region(daemon, **arguments):
    return make_region().configure("cachetastic", expiration_time=60,
                                   arguments={"socket": daemon.socket, "timeout": 5 * SLOW, **arguments})


def test_values(region):
    assert region.get("k") is NO_VALUE
    region.set("k", {"any": ("object", None)})
    assert region.get("k") == {"any": ("object", None)}
    region.set("none", None)
    assert region.get("none") is None
    region.delete("k")
    assert region.get("k") is NO_VALUE


def test_many(region):
    region.set_multi({"a": 1, "b": 2})
    assert region.get_multi(["a", "x", "b"]) == [1, NO_VALUE, 2]
    region.delete_multi(["a"])
    assert region.get_multi(["a", "b"]) == [NO_VALUE, 2]
    assert region.get_or_create_multi(["b", "c"], lambda *keys: [key * 2 for key in keys]) == [2, "cc"]


def test_get_or_create_and_invalidate(region):
    made = []
    for _ in range(3):
        assert region.get_or_create("k", lambda: made.append(1) or len(made)) == 1
    region.invalidate()
    assert region.get_or_create("k", lambda: made.append(1) or len(made)) == 2


def test_cache_on_arguments(region):
    calls = []

    @region.cache_on_arguments()
    def double(x):
        calls.append(x)
        return 2 * x

    assert double(2) == double(2) == 4 and calls == [2]
    double.invalidate(2)
    assert double(2) == 4 and calls == [2, 2]
    double.set(5, 2)
    assert double(2) == 5


def test_the_daemon_drops_what_is_over(daemon):
    region = open_region(daemon, ttl=0.2)
    region.set("k", 1)
    assert region.get("k") == 1
    wait_until(lambda: region.get("k") is NO_VALUE, what="the expiry")


def test_one_of_many_threads_creates(daemon):
    regions, made, results = [open_region(daemon) for _ in range(10)], [], []

    def create():
        made.append(1)
        time.sleep(0.2)
        return "made"

    threads = [threading.Thread(target=lambda region=region: results.append(region.get_or_create("k", create)))
               for region in regions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["made"] * 10 and len(made) == 1


def test_the_mutex(region, daemon):
    mutex, other = region.backend.get_mutex("k"), open_region(daemon).backend.get_mutex("k")
    assert not mutex.locked() and mutex.acquire() and mutex.locked() and other.locked()
    assert other.acquire(wait=False) is False
    threading.Timer(0.2, mutex.release).start()
    assert other.acquire() is True
    other.release()
    with pytest.raises(RuntimeError):
        other.release()
    assert open_region(daemon, distributed_lock=False).backend.get_mutex("k") is None


HOLDER = """
import os, sys
from dogpile.cache import make_region
import cachetastic.dogpile
mutex = make_region().configure("cachetastic", arguments={"socket": sys.argv[1]}).backend.get_mutex("k")
print(mutex.acquire(), flush=True)
sys.stdin.read()
"""


def test_a_killed_holder_lets_the_next_one_in(region, daemon):
    holder = subprocess.Popen(["/usr/bin/python3", "-c", HOLDER, str(daemon.socket)], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, env=python_package.environment())
    assert holder.stdout.readline() == b"True\n"
    mutex = region.backend.get_mutex("k")
    assert not mutex.acquire(wait=False)
    holder.kill()
    began = time.monotonic()
    assert mutex.acquire() and time.monotonic() - began < 3 * SLOW
    holder.communicate()
