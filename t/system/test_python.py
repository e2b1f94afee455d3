"""The Python package: cachetastic.Cache and AsyncCache."""

import ast
import asyncio
import datetime
import gc
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

import python_package
from harness import SLOW, TREE, Daemon, end, wait_until

if not python_package.use():
    pytest.skip("the library is built with a sanitizer only", allow_module_level=True)

import cachetastic  # noqa: E402
from cachetastic import AsyncCache, Cache, errors  # noqa: E402

CONFIG = """
listen = ( {{ address = "unix:{socket}"; mode = "0666"; }} );
caches = ( {{ name = "default"; memory = "32M"; direct = true; direct_trust = true; }},
           {{ name = "sessions"; memory = "8M"; direct = true; direct_trust = true; }} );
workers = 2;
"""
TIMEOUT = 5 * SLOW
WAIT = min(30 * SLOW, 60)  # limits.fetch_wait


@pytest.fixture
def daemon(tmp_path):
    daemon = Daemon(tmp_path / "d", config=CONFIG)
    yield daemon
    if daemon.process.poll() is None:
        daemon.stop()


@pytest.fixture(params=["direct", "socket"])
def cache(request, daemon):
    with Cache(socket=daemon.socket, timeout=TIMEOUT, direct=request.param == "direct") as cache:
        assert (cache.direct() is None) == (request.param == "direct")
        yield cache


def test_the_operations(cache):
    assert cache.get("k") is None and cache.get("k", 7) == 7 and cache.get(key="k", default=8) == 8
    assert cache.set("k", {"a": [1, None, "ü"]}) is True
    assert cache.get("k") == cache.get(b"k") == {"a": [1, None, "ü"]}
    assert cache.has("k") and not cache.has("other")
    assert not cache.add("k", 1) and cache.add("new", 1)
    assert not cache.set("none", 1, if_present=True) and cache.set("new", 2, if_present=True)
    assert cache.delete("k") is True and cache.delete("k") is False
    assert cache.set_many({"a": 1, "b": "two", b"c": None})
    assert cache.get_many(["a", "b", b"c", "d"]) == {"a": 1, "b": "two", b"c": None}
    assert cache.delete_many(["a", "b", "d"]) == 2
    assert cache.incr("n") == 1 and cache.incr("n", 5) == 6 and cache.decr("n", 8) == -2 and cache.get("n") == -2
    cache.set_many({"user:1": 1, "user:2": 2, "page": 3})
    cache.delete_pattern("user:*")
    assert cache.get_many(["user:1", "user:2", "page"]) == {"page": 3}
    cache.set("t", 1, tags=["red", "blue"])
    cache.set_many({"u": 1, "v": 2}, tags=("blue",))
    cache.invalidate_tags(["blue"])
    assert cache.get_many(["t", "u", "v", "page"]) == {"page": 3}
    assert cache.stats()["items"] >= 1 if "items" in cache.stats() else cache.stats()
    cache.clear()
    assert cache.get("page") is None


def test_times(cache):
    cache.set("k", 1, 0.2)
    assert 0 < cache.ttl("k") <= 0.2
    wait_until(lambda: cache.get("k") is None, what="the expiry")
    cache.set("k", 1, datetime.timedelta(minutes=1))
    assert 59 < cache.ttl("k") <= 60
    assert cache.touch("k", 10) and 9 < cache.ttl("k") <= 10
    assert cache.touch("k") and cache.ttl("k") is None and cache.touch("k")
    assert cache.set("k", 2, 0) and not cache.has("k") and not cache.touch("k", 5) and not cache.touch("k")
    with pytest.raises(KeyError):
        cache.ttl("k")


def test_named_caches_are_apart(daemon):
    one, other = Cache(socket=daemon.socket), Cache("sessions", daemon.socket)
    one.set("k", 1)
    other.set("k", 2)
    other.clear()
    assert one.get("k") == 1 and other.get("k") is None


VALUES = [None, True, False, 0, -0.0, -1, 12345678901234567890123, 1.5, "", "plain", 'quo"te', "back\\slash", "\x00\x1f",
          "ü€𝄞", [], {}, [1, [2]], {"a": {"b": "c"}}, "123", "-", 999999999999999999, -999999999999999999, 1 << 62]


@pytest.mark.parametrize("which", ["json", "pickle", "msgpack"])
def test_serializers(cache, daemon, which):
    typed = Cache(socket=daemon.socket, serializer=which, direct=cache.direct() is None)
    for value in VALUES:
        if which == "msgpack" and isinstance(value, int) and value > 1 << 64:
            continue
        typed.set("k", value)
        got = typed.get("k")
        assert got == value and type(got) is type(value), value
    typed.set("n", 41)
    assert typed.incr("n") == 42 and typed.get("n") == 42
    with pytest.raises(errors.SerializerError):
        typed.set("k", lambda: 1)
    daemon.client().set("k", b"\xc1\xff")
    with pytest.raises(errors.SerializerError) as raised:
        typed.get("k")
    assert raised.value.__cause__ is not None


def test_json_is_what_others_write(cache, daemon):
    client = daemon.client()
    cache.set("k", {"ü": [1, 2]})
    assert client.get("k") == '{"ü":[1,2]}'.encode()
    for text in (b' "a" ', b'"a\\u00fc"', b"1e3", b"[1, 2]", b" 7", b"-0", b"1.0"):
        client.set("k", text)
        assert cache.get("k") == json.loads(text)
    for text in (b'"a"b"', b"01", b"--1", b'"', b"", b'"\x01"', b'"\xff"', b"-"):
        client.set("k", text)
        with pytest.raises(errors.SerializerError):
            cache.get("k")
    with pytest.raises(errors.SerializerError):
        cache.set("k", float("nan"))


def test_raw_and_custom(daemon):
    raw = Cache(socket=daemon.socket, serializer="raw")
    for value in (b"", b"\x00bytes", bytearray(b"x"), memoryview(b"y"), "text"):
        raw.set("k", value)
        assert raw.get("k") == (value.encode() if isinstance(value, str) else bytes(value))
    with pytest.raises(errors.SerializerError):
        raw.set("k", 1.5)
    mine = Cache(socket=daemon.socket, serializer=(lambda v: v[::-1].encode(), lambda b: b.decode()[::-1]))
    mine.set("k", "abc")
    assert raw.get("k") == b"cba" and mine.get("k") == "abc"
    with pytest.raises(ValueError, match="no serializer"):
        Cache(serializer="yaml")


def test_errors(cache, daemon):
    with pytest.raises(errors.InvalidError, match="1 to 65535"):
        cache.get("")
    with pytest.raises(ValueError):
        cache.set("k" * 70000, 1)
    with pytest.raises(errors.CacheError, match="limits.key"):
        cache.set("k" * 2000, 1)
    with pytest.raises(TypeError):
        cache.get(1)
    with pytest.raises(TypeError):
        cache.get_many("abc")
    with pytest.raises(TypeError):
        cache.get()
    with pytest.raises(TypeError):
        cache.get("k", 1, 2)
    with pytest.raises(TypeError):
        cache.get("k", key="k")
    cache.set("text", "no number")
    with pytest.raises(errors.RefusedError):
        cache.incr("text")
    with pytest.raises(errors.CacheError):
        Cache("nosuch", daemon.socket).get("k")
    with pytest.raises(errors.DownError):
        Cache(socket="/nonexistent/socket").get("k")
    with pytest.raises(TypeError):
        pickle.dumps(cache)
    assert cache.set("k", 1) and cache.get("k") == 1


def test_hits_take_no_call(daemon):
    cache = Cache(socket=daemon.socket)
    assert cache.direct() is None
    cache.set("k", "v")
    calls = cache.counts()["calls"]
    for _ in range(1000):
        assert cache.get("k") == "v" and cache.get("other") is None and cache.has("k")
        assert cache.fetch("k", None) == "v"
    counts = cache.counts()
    assert counts["calls"] == calls and counts["direct_hits"] == 3000 and counts["connects"] == 1


# ---- fetch ----

def never():
    raise AssertionError("computed though it is there")


def test_fetch(cache):
    assert cache.fetch("k", lambda: {"made": 1}, 60) == {"made": 1}
    assert cache.fetch("k", never) == cache.get("k") == {"made": 1} and 0 < cache.ttl("k") <= 60
    with pytest.raises(ZeroDivisionError):
        cache.fetch("bad", lambda: 1 / 0)
    assert cache.fetch("bad", lambda: "now", tags=["t"]) == "now"
    cache.invalidate_tags(["t"])
    assert not cache.has("bad")
    with pytest.raises(ZeroDivisionError):
        cache.fetch("slow", lambda: 1 / 0, retry=60)
    with pytest.raises(errors.BusyError):
        cache.fetch("slow", never, wait=0)
    assert cache.fetch("slow", lambda: "own", wait=0, busy="compute") == "own" and not cache.has("slow")
    with pytest.raises(errors.SerializerError):
        cache.fetch("odd", lambda: object())
    assert cache.fetch("odd", lambda: 1, 0) == 1 and not cache.has("odd")
    # The callback may use the cache; what it removes meanwhile stays removed.
    assert cache.fetch("outer", lambda: cache.fetch("inner", lambda: 1) + 1) == 2
    assert cache.fetch("gone", lambda: cache.delete("gone") or "old") == "old" and not cache.has("gone")


def test_a_stale_value_goes_on_when_computing_fails(cache):
    assert cache.fetch("k", lambda: 1, 0.05, stale=60) == 1
    wait_until(lambda: not cache.has("k"), what="the expiry")
    assert cache.fetch("k", lambda: 1 / 0, stale=60) == 1
    assert cache.fetch("k", lambda: 2, 60, stale=60) == 2


def test_a_dropped_lease_is_given_back(cache):
    state, _, lease = cache._begin("k", 0, 60000, 0, 1.0, False, False)
    assert state == 1 and lease.open
    assert cache._begin("k", 0, 0, 0, 1.0, False, False)[0] == 2
    del lease
    state, _, lease = cache._begin("k", 0, 60000, 0, 1.0, False, False)
    assert state == 1 and lease.fill(b'"v"') and not lease.open and cache.get("k") == "v"
    with pytest.raises(RuntimeError):
        lease.fail()


def test_a_hot_key_is_refreshed_before_it_expires(daemon):
    cache, computed = Cache(socket=daemon.socket, timeout=TIMEOUT), []

    def compute():
        computed.append(1)
        time.sleep(0.05)
        return len(computed)

    assert cache.fetch("k", compute, 1.5) == 1
    began = time.monotonic()
    while len(computed) < 2 and time.monotonic() - began < 1.45:
        cache.fetch("k", compute, 60)
    assert len(computed) == 2, "not refreshed before its expiry"


def test_the_decorator(cache):
    calls = []

    @cache.cached(ttl=60, key="user:{0}", tags=("users", "user:{0}"))
    def user(number):
        """Docs."""
        calls.append(number)
        return {"id": number}

    @cache.cached(ttl=60)
    def plain(a, b=1):
        calls.append((a, b))
        return a + b

    assert user(1) == user(1) == {"id": 1} and calls == [1] and cache.has("user:1") and user.__doc__ == "Docs."
    user.invalidate(1)
    assert user(1) == {"id": 1} and calls == [1, 1]
    cache.invalidate_tags(["user:1"])
    user(1)
    assert calls == [1, 1, 1]
    assert plain(1) == plain(1) == 2 and plain(1, b=2) == 3 and plain("x", b="y") == "xy" and len(calls) == 6


ONE_OF_MANY = r"""
import os, sys, time
from cachetastic import Cache
cache = Cache(socket=sys.argv[1], timeout=60)
sys.stdin.readline()
def compute():
    os.write(1, b"computed\n")
    time.sleep(0.5)
    return "made"
os.write(1, cache.fetch("k", compute, 60, wait=60, lease=60).encode() + b"\n")
os._exit(0)
"""

FORKER = ONE_OF_MANY.replace("sys.stdin.readline()", """
cache.has("k")
r, w = os.pipe()
for _ in range(int(sys.argv[2]) - 1):
    if os.fork() == 0:
        break
else:
    sys.stdin.readline()
    os.close(w)
    w = None
if w is not None:
    os.close(w)
    os.read(r, 1)
""") + "\n"


def test_two_hundred_processes_compute_once(daemon):
    """Forked from one that has used the cache already: each goes on with a connection of its own."""
    first = subprocess.Popen(["/usr/bin/python3", "-c", FORKER, str(daemon.socket), "200"],
                             env=python_package.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    output = first.communicate(b"\n", timeout=120 * SLOW)[0].splitlines()
    assert output.count(b"computed") == 1 and output.count(b"made") == 200 and len(output) == 201


# ---- processes and threads ----

def test_a_fork_in_the_middle(daemon):
    cache = Cache(socket=daemon.socket, timeout=TIMEOUT)
    cache.set("k", "v")
    assert cache.get("k") == "v"
    _, _, lease = cache._begin("leased", 0, 60000, 0, 1.0, False, False)
    child = os.fork()
    if child == 0:
        ok = False
        try:
            ok = all(cache.get("k") == "v" and cache.incr("n") for _ in range(200)) and lease.fill(b"1") is False
        finally:
            os._exit(0 if ok else 1)
    for _ in range(200):
        assert cache.get("k") == "v" and cache.incr("n")
    assert os.waitpid(child, 0)[1] == 0
    assert cache.get("n") == 400
    assert lease.fill(b'"mine"') and cache.get("leased") == "mine"


def test_threads_share_one_object(cache):
    wrong = []

    def work(number):
        for i in range(300):
            key = f"{number}:{i % 7}"
            cache.set(key, key)
            if cache.get(key) != key or cache.get_many([key]) != {key: key}:
                wrong.append(key)
            cache.incr("sum")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and cache.get("sum") == 2400


def test_a_wait_lets_other_threads_run(cache):
    _, _, lease = cache._begin("k", 0, 60000, 0, 1.0, False, False)
    results = []
    thread = threading.Thread(target=lambda: results.append(cache.fetch("k", never, wait=WAIT)))
    thread.start()
    for i in range(100):
        cache.set("other", i)
    assert not results and cache.get("other") == 99
    lease.fill(b"5")
    thread.join(30 * SLOW)
    assert results == [5]


def test_a_killed_master_is_noticed_within_a_second(daemon):
    cache = Cache(socket=daemon.socket, timeout=2 * SLOW)
    cache.set("k", "v")
    assert cache.get("k") == "v" and cache.direct() is None
    end(daemon.process, signal.SIGKILL)
    killed, calls = time.monotonic(), 0
    with pytest.raises((errors.DownError, errors.LostError)):
        while cache.get("k") == "v":
            calls += 1
            assert time.monotonic() - killed < 1.5 * SLOW
    with pytest.raises(errors.DownError):
        cache.get("k")
    daemon.start()
    assert cache.get("k") is None and cache.direct() is None


# ---- asyncio ----

def run(daemon, main, **options):
    async def with_cache():
        async with AsyncCache(socket=daemon.socket, timeout=TIMEOUT, **options) as cache:
            return await asyncio.wait_for(main(cache), 60 * SLOW)
    return asyncio.run(with_cache())


def test_asyncio(daemon):
    async def main(cache):
        assert await cache.get("k", 1) == 1
        assert await cache.set("k", [1], 60, tags=["t"]) and await cache.get("k") == [1] and await cache.has("k")
        assert 0 < await cache.ttl("k") <= 60 and await cache.touch("k") and not await cache.add("k", 2)
        await cache.set_many({"a": 1, "b": 2})
        assert await cache.get_many(["a", "b", "c"]) == {"a": 1, "b": 2} and await cache.delete_many(["a"]) == 1
        assert await cache.incr("n", 2) == 2 and await cache.decr("n") == 1
        await cache.invalidate_tags(["t"])
        assert await cache.get("k") is None
        await cache.delete_pattern("b*")
        assert not await cache.has("b") and await cache.delete("n")
        assert await cache.stats()
        await cache.clear()

        @cache.cached(ttl=60, key="square:{0}")
        async def square(x):
            calls.append(x)
            return x * x

        calls = []
        assert await square(3) == await square(3) == 9 and calls == [3]
        await square.invalidate(3)
        assert await square(3) == 9 and calls == [3, 3]
        with pytest.raises(ZeroDivisionError):
            await cache.fetch("bad", lambda: 1 / 0)
        assert await cache.fetch("bad", lambda: 1) == 1

    run(daemon, main)
    run(daemon, main, direct=False)


def test_two_hundred_tasks_compute_once(daemon):
    async def main(cache):
        computed = []

        async def compute():
            computed.append(1)
            await asyncio.sleep(0.2)
            return "made"

        made = await asyncio.gather(*(cache.fetch("k", compute) for _ in range(200)))
        assert made == ["made"] * 200 and len(computed) == 1

    run(daemon, main)


def test_waiting_does_not_block_the_loop(daemon):
    holder = Cache(socket=daemon.socket)
    _, _, lease = holder._begin("k", 0, 60000, 0, 1.0, False, False)

    async def main(cache):
        task = asyncio.create_task(cache.fetch("k", never, wait=WAIT))
        longest, last = 0, time.monotonic()
        for i in range(50):
            await asyncio.sleep(0.002)
            await cache.set("other", i)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
        assert not task.done()
        lease.fill(b"7")
        assert await task == 7 and longest < 1.0 * SLOW

    run(daemon, main)


def test_direct_reads_stay_in_the_loop(daemon):
    async def main(cache):
        await cache.set("k", 1)
        calls = cache.cache.counts()["calls"]
        for read, result in ((cache.get("k"), 1), (cache.has("k"), True), (cache.get_many(["k", "n"]), {"k": 1}),
                             (cache.fetch("k", never), 1), (cache.get("n"), None), (cache.has("n"), False)):
            with pytest.raises(StopIteration) as done:
                read.send(None)  # no suspension: the value is there at once
            assert done.value.value == result
        assert cache.cache.counts()["calls"] == calls

    run(daemon, main)


# ---- memory: children import the build they are given before they import this file ----

def everything(cache):
    """Each path of the extension once, the failing ones too."""
    cache.set("k", {"a": 1}, 60, tags=("t",))
    cache.get("k"), cache.get("none", object()), cache.has("k"), cache.get_many(["k", "none"])
    cache._peek_has("k"), cache._peek("k", 1, 2), cache._peek("none", 1, 2)
    cache.set_many({"a": 1, "b": "x"}), cache.delete_many(["a"]), cache.delete("b"), cache.incr("n")
    cache.touch("k", 5), cache.ttl("k"), cache.stats(), cache.direct(), cache.counts()
    cache.invalidate_tags(["t"]), cache.delete_pattern("x*")
    cache.fetch("f", lambda: [1], 60), cache.fetch("f", never), cache.delete("f")
    cache._begin("g", 0, 1000, 0, 1.0, False, False)
    for bad in (lambda: cache.get(""), lambda: cache.get(1), lambda: cache.get_many([1]), lambda: cache.get_many("x"),
                lambda: cache.fetch("e", lambda: 1 / 0), lambda: cache.set("k", object()),
                lambda: cache.set("k", 1, tags="x"), lambda: cache._put_many(("a",), (), 0, ()),
                lambda: cache.get("k", 1, 2), lambda: cache._begin("k")):
        with pytest.raises(Exception):
            bad()
    cache.set_many({"text": "x"})
    with pytest.raises(errors.RefusedError):
        cache.incr("text")


def test_memory_does_not_grow(daemon):
    import tracemalloc
    cache = Cache(socket=daemon.socket, timeout=TIMEOUT)

    def rss():
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    for _ in range(30):
        everything(cache)
    gc.collect()
    tracemalloc.start()
    before, resident = tracemalloc.get_traced_memory()[0], rss()
    for _ in range(200):
        everything(cache)
        Cache(socket=daemon.socket).get("k")
    gc.collect()
    grown, larger = tracemalloc.get_traced_memory()[0] - before, rss() - resident
    tracemalloc.stop()
    assert grown < 20000, f"{grown} bytes in 200 rounds"
    assert larger < 8 << 20, f"{larger} bytes of RSS in 200 rounds"


COUNT_REFERENCES = r"""
import gc, sys
from cachetastic import Cache
import test_python
cache = Cache(socket=sys.argv[1], timeout=20)
def total(rounds):
    for _ in range(rounds):
        test_python.everything(cache)
    gc.collect()
    return sys.gettotalrefcount()
total(10)
first, second, third = total(20), total(20), total(20)
print(second - first, third - second)
"""


@pytest.mark.skipif(not os.path.exists("/usr/bin/python3-dbg"), reason="no python3-dbg")
def test_reference_counts(daemon):
    """Under Debian's debug build, which also checks every object it frees."""
    target = python_package.build("/usr/bin/python3-dbg", "python-dbg")
    env = dict(python_package.environment(), PYTHONPATH=f"{target}:{TREE / 't' / 'system'}")
    done = subprocess.run(["/usr/bin/python3-dbg", "-X", "dev", "-W", "ignore", "-c", COUNT_REFERENCES, str(daemon.socket)],
                          env=env, capture_output=True, text=True, timeout=120 * SLOW)
    assert done.returncode == 0, done.stderr
    grown = list(map(int, done.stdout.split()))
    assert len(grown) == 2 and min(abs(number) for number in grown) <= 10, f"{grown} references in 20 rounds each"


SANITIZED = r"""
import gc, sys, threading
from cachetastic import Cache
import test_python
cache = Cache(socket=sys.argv[1], timeout=20)
threads = [threading.Thread(target=lambda: [cache.set("k", i) and cache.get("k") for i in range(100)]) for _ in range(4)]
for thread in threads:
    thread.start()
for _ in range(3):
    test_python.everything(cache)
for thread in threads:
    thread.join()
cache.close()
del cache
gc.collect()
print("clean")
"""


def test_the_extension_under_sanitizers(daemon):
    """The extension built with AddressSanitizer and UBSan, whose runtime goes before the interpreter."""
    runtime = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True).stdout.strip()
    assert os.path.isabs(runtime), "gcc has no libasan"
    target = python_package.build(name="python-asan", cflags="-fsanitize=address,undefined -fno-sanitize-recover=all")
    env = dict(python_package.environment(), PYTHONPATH=f"{target}:{TREE / 't' / 'system'}", LD_PRELOAD=runtime,
               PYTHONMALLOC="malloc", ASAN_OPTIONS="detect_leaks=0")
    done = subprocess.run(["/usr/bin/python3", "-c", SANITIZED, str(daemon.socket)], env=env, capture_output=True,
                          text=True, timeout=120 * SLOW)
    assert done.stdout == "clean\n" and done.returncode == 0, done.stderr


# ---- documents ----

def test_the_examples_of_the_readme(daemon):
    """Every Python example of the front page and of the package's own runs as it stands."""
    examples = []
    for path in (TREE / "README.md", TREE / "clients" / "python" / "README.md"):
        examples += [(path, text) for text in re.findall(r"```python\n(.*?)```", path.read_text(), re.S)
                     if "cachetastic" in text and "redis.Redis" not in text]
    assert len(examples) >= 3
    for path, text in examples:
        done = subprocess.run(["/usr/bin/python3", "-c", text], capture_output=True, text=True,
                              env=dict(python_package.environment(), CACHETASTIC_SOCKET=str(daemon.socket)))
        assert done.returncode == 0, f"{path}:\n{text}\n{done.stderr}"


def test_the_reference_is_up_to_date():
    done = subprocess.run(["/usr/bin/python3", str(TREE / "clients" / "python" / "make_api.py"), "--check"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_stubs_have_what_the_classes_have():
    """Every public method, with the same arguments in the same order."""
    package = TREE / "clients" / "python" / "cachetastic"
    for stub, name in (("cache", "Cache"), ("aio", "AsyncCache")):
        trees = [ast.parse((package / f"{stub}{ending}").read_text()) for ending in (".py", ".pyi")]
        code, types = [{one.name: [a.arg for a in one.args.posonlyargs + one.args.args]
                        for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name
                        for one in node.body
                        if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef)) and not one.name.startswith("_")}
                       for tree in trees]
        assert code and code == types
    stub = (package / "_cachetastic.pyi").read_text()
    for name in dir(cachetastic._cachetastic.Client):
        assert name.startswith("_") or f"def {name}(" in stub, name


def test_the_version_is_the_trees():
    version = re.search(r"AC_INIT\(\[[^]]*\], *\[([^]]*)\]", (TREE / "configure.ac").read_text())[1]
    assert cachetastic.__version__ == version
    assert f'version = "{version}"' in (TREE / "clients" / "python" / "pyproject.toml").read_text()
    assert sys.version_info >= (3, 11)
