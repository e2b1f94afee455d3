"""cachetastic.django with a real Django: the documented behaviours of its caches, one test each.

Behaviours: docs.djangoproject.com/en/3.2/topics/cache/ ("The low-level cache API").
"""

import asyncio
import pickle
import subprocess
import threading
import time
import warnings

import pytest

import python_package
from harness import SLOW, Daemon, wait_until

if not python_package.use():
    pytest.skip("the library is built with a sanitizer only", allow_module_level=True)

from django.conf import settings  # noqa: E402

if not settings.configured:
    settings.configure(USE_TZ=True)

from django.core.cache.backends.base import CacheKeyWarning  # noqa: E402
from django.core.cache import CacheHandler  # noqa: E402

CONFIG = """
listen = ( {{ address = "unix:{socket}"; }} );
caches = ( {{ name = "default"; memory = "32M"; direct = true; direct_trust = true; }},
           {{ name = "other"; memory = "8M"; }} );
workers = 2;
"""


def key_function(key, prefix, version):
    return f"{key}|{version}|{prefix}"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    daemon = Daemon(tmp_path_factory.mktemp("django") / "d", config=CONFIG)
    yield daemon
    daemon.stop()


@pytest.fixture
def handler(daemon):
    base = {"BACKEND": "cachetastic.django.CachetasticCache", "LOCATION": str(daemon.socket),
            "OPTIONS": {"timeout": 5 * SLOW}}
    return CacheHandler({
        "default": base,
        "prefix": {**base, "KEY_PREFIX": "site"},
        "v2": {**base, "VERSION": 2},
        "function": {**base, "KEY_FUNCTION": key_function},
        "short": {**base, "TIMEOUT": 1},  # Django makes it an integer
        "zero": {**base, "TIMEOUT": 0},
        "forever": {**base, "TIMEOUT": None},
        "other": {**base, "OPTIONS": {"timeout": 5 * SLOW, "cache": "other", "MAX_ENTRIES": 3}},
        "json": {**base, "OPTIONS": {"serializer": "json"}},
    })


@pytest.fixture
def cache(handler):
    handler["default"].clear()
    handler["other"].clear()
    return handler["default"]


class Thing:
    def __init__(self, n):
        self.n = n

    def __eq__(self, other):
        return self.n == other.n


def raises(error, function):
    try:
        function()
    except error:
        return True
    return False


# A row: the behaviour, and what is true of the cache. Each is a test of its own, on an empty cache.
BEHAVIOURS = {
    "get of a missing key is None": lambda c: c.get("k") is None,
    "get of a missing key is the default": lambda c: c.get("k", "x") == "x",
    "set and get": lambda c: c.set("k", "v") is None and c.get("k") == "v",
    "None can be stored, and is told from a miss": lambda c: c.set("k", None) is None and c.get("k", "x") is None,
    "any picklable object": lambda c: c.set("k", Thing(3)) is None and c.get("k") == Thing(3),
    "integers stay integers": lambda c: c.set("k", 5) is None and type(c.get("k")) is int,
    "booleans stay booleans": lambda c: c.set("k", True) is None and c.get("k") is True,
    "unicode keys and values": lambda c: c.set("ключ", "значение") is None and c.get("ключ") == "значение",
    "binary values": lambda c: c.set("k", b"\x00\xff") is None and c.get("k") == b"\x00\xff",
    "set replaces": lambda c: c.set("k", 1) is None and c.set("k", 2) is None and c.get("k") == 2,
    "add stores a missing key": lambda c: c.add("k", 1) is True and c.get("k") == 1,
    "add keeps an existing key": lambda c: c.add("k", 1) and c.add("k", 2) is False and c.get("k") == 1,
    "get_or_set stores a value": lambda c: c.get_or_set("k", "v") == "v" and c.get("k") == "v",
    "get_or_set keeps a value": lambda c: c.get_or_set("k", 1) == 1 and c.get_or_set("k", 2) == 1,
    "get_or_set calls a callable": lambda c: c.get_or_set("k", lambda: 7) == 7 and c.get("k") == 7,
    "get_or_set does not call it for a hit": lambda c: c.set("k", 1) is None and c.get_or_set("k", lambda: 1 / 0) == 1,
    "get_or_set takes None": lambda c: c.get_or_set("k", None) is None and c.get("k", "x") is None,
    "get_or_set passes an exception on": lambda c: raises(ZeroDivisionError, lambda: c.get_or_set("k", lambda: 1 / 0)),
    "get_or_set needs a default": lambda c: raises(TypeError, lambda: c.get_or_set("k")),
    "get_or_set takes a version": lambda c: c.get_or_set("k", 1, version=2) == 1 and c.get("k") is None,
    "delete of a key": lambda c: c.set("k", 1) is None and c.delete("k") is True and c.get("k") is None,
    "delete of a missing key": lambda c: c.delete("k") is False,
    "has_key and in": lambda c: not c.has_key("k") and c.set("k", None) is None and c.has_key("k") and "k" in c,
    "get_many gives those that are there": lambda c: c.set("a", 1) is None and c.set("b", None) is None
        and c.get_many(["a", "b", "c"]) == {"a": 1, "b": None},
    "get_many of a generator": lambda c: c.set("a", 1) is None and c.get_many(k for k in "ab") == {"a": 1},
    "set_many gives the keys that failed": lambda c: c.set_many({"a": 1, "b": 2}) == []
        and c.get_many(["a", "b"]) == {"a": 1, "b": 2},
    "delete_many": lambda c: c.set_many({"a": 1, "b": 2, "c": 3}) == [] and c.delete_many(["a", "b"]) is None
        and c.get_many("abc") == {"c": 3},
    "clear": lambda c: c.set_many({"a": 1, "b": 2}) == [] and c.clear() is None and c.get_many("ab") == {},
    "incr": lambda c: c.set("n", 41) is None and c.incr("n") == 42 and c.get("n") == 42 and c.incr("n", 10) == 52
        and c.incr("n", -2) == 50,
    "decr": lambda c: c.set("n", 43) is None and c.decr("n") == 42 and c.decr("n", 10) == 32 and c.decr("n", -1) == 33,
    "incr of a missing key": lambda c: raises(ValueError, lambda: c.incr("none")),
    "decr of a missing key": lambda c: raises(ValueError, lambda: c.decr("none")),
    "incr of what is no number": lambda c: c.set("k", "x") is None and raises(ValueError, lambda: c.incr("k")),
    "incr keeps the expiry": lambda c: c.set("n", 1, 60) is None and c.incr("n") and c._cache.ttl(c._key("n", None)) > 50,
    "touch of a key": lambda c: c.set("k", 1, 0.2) is None and c.touch("k", 60) is True
        and time.sleep(0.3) is None and c.get("k") == 1,
    "touch with the default timeout": lambda c: c.set("k", 1, 1) is None and c.touch("k")
        and c._cache.ttl(c._key("k", None)) > 290,
    "touch with None": lambda c: c.set("k", 1, 1) is None and c.touch("k", None)
        and c._cache.ttl(c._key("k", None)) is None,
    "touch with zero": lambda c: c.set("k", 1) is None and c.touch("k", 0) and c.get("k") is None,
    "touch of a missing key": lambda c: c.touch("k") is False and c.touch("k", None) is False,
    "timeout of 300 s by default": lambda c: c.set("k", 1) is None and 299 < c._cache.ttl(c._key("k", None)) <= 300,
    "timeout None": lambda c: c.set("k", 1, None) is None and c._cache.ttl(c._key("k", None)) is None
        and c.add("l", 1, None) and c._cache.ttl(c._key("l", None)) is None,
    "timeout 0 stores nothing": lambda c: c.set("k", 1) is None and c.set("k", 2, 0) is None and c.get("k") is None
        and c.add("l", 1, 0) and c.get("l") is None and c.set_many({"m": 1}, 0) == [] and c.get("m") is None,
    "a negative timeout stores nothing": lambda c: c.set("k", 1, -1) is None and c.get("k") is None,
    "a fraction of a second": lambda c: c.set("k", 1, 0.1) is None and c.get("k") == 1 and time.sleep(0.15) is None
        and c.get("k") is None,
    "a timeout of more than thirty days": lambda c: c.set("k", 1, 60 * 60 * 24 * 30 + 1) is None and c.get("k") == 1,
    "versions are apart": lambda c: c.set("k", 1, version=1) is None and c.set("k", 2, version=2) is None
        and c.get("k") == 1 and c.get("k", version=2) == 2 and c.get("k", version=3) is None,
    "versions in add": lambda c: c.add("k", 1, version=2) and not c.add("k", 2, version=2) and c.add("k", 3),
    "versions in has_key": lambda c: c.set("k", 1, version=2) is None and not c.has_key("k") and c.has_key("k", version=2),
    "versions in delete": lambda c: c.set("k", 1) is None and not c.delete("k", version=2) and c.get("k") == 1,
    "versions in touch": lambda c: c.set("k", 1) is None and not c.touch("k", version=2) and c.touch("k", version=1),
    "versions in incr and decr": lambda c: c.set("n", 1) is None and c.set("n", 10, version=2) is None
        and c.incr("n", version=2) == 11 and c.decr("n", version=1) == 0,
    "versions in the many": lambda c: c.set_many({"a": 1, "b": 2}, version=2) == [] and c.get_many("ab") == {}
        and c.get_many("ab", version=2) == {"a": 1, "b": 2} and c.delete_many("a", version=2) is None
        and c.get_many("ab", version=2) == {"b": 2},
    "incr_version": lambda c: c.set("k", 1, version=1) is None and c.incr_version("k") == 2 and c.get("k") is None
        and c.get("k", version=2) == 1,
    "decr_version": lambda c: c.set("k", 1, version=2) is None and c.decr_version("k", version=2) == 1
        and c.get("k") == 1 and c.get("k", version=2) is None,
    "incr_version of a missing key": lambda c: raises(ValueError, lambda: c.incr_version("none")),
    "decr_version of a missing key": lambda c: raises(ValueError, lambda: c.decr_version("none")),
    "close keeps the values": lambda c: c.set("k", 1) is None and c.close() is None and c.get("k") == 1,
    "a value larger than memcached's": lambda c: c.set("k", "x" * 3000000) is None and len(c.get("k")) == 3000000,
    "zlib-like bytes": lambda c: c.set("k", pickle.dumps([1])) is None and pickle.loads(c.get("k")) == [1],
}


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_behaviour(cache, behaviour):
    assert BEHAVIOURS[behaviour](cache) is True


def test_prefix_version_and_function_name_keys(handler, cache, daemon):
    client = daemon.client()
    for alias, key in (("default", b":1:k"), ("prefix", b"site:1:k"), ("v2", b":2:k"), ("function", b"k|1|")):
        handler[alias].set("k", alias)
        assert client.exists(key) and handler[alias].get("k") == alias


def test_the_timeout_of_the_settings(handler, cache):
    handler["short"].set("k", 1)
    assert handler["short"].get("k") == 1
    wait_until(lambda: handler["short"].get("k") is None, what="the expiry")
    handler["zero"].set("k", 1)
    assert handler["zero"].get("k") is None
    handler["forever"].set("k", 1)
    assert handler["forever"]._cache.ttl(":1:k") is None


def test_clear_clears_its_named_cache_alone(handler, cache):
    cache.set("k", 1)
    handler["other"].set_many({str(i): i for i in range(10)})
    assert len(handler["other"].get_many(map(str, range(10)))) == 10  # MAX_ENTRIES means nothing here
    handler["other"].clear()
    assert cache.get("k") == 1 and handler["other"].get("1") is None


def test_keys_that_memcached_refuses_are_warned_of(cache):
    for key in ("key with spaces", "x" * 251):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            cache.set(key, 1)
            assert cache.get(key) == 1
        assert any(issubclass(one.category, CacheKeyWarning) for one in caught)


def test_json_refuses_what_it_would_not_give_back(handler, cache):
    handler["json"].set("k", {"a": 1})
    assert handler["json"].get("k") == {"a": 1}
    with pytest.raises(ValueError):
        handler["json"].set("k", Thing(1))


def test_get_or_set_computes_once(cache):
    computed, results = [], []

    def compute():
        computed.append(1)
        time.sleep(0.2)
        return "made"

    threads = [threading.Thread(target=lambda: results.append(cache.get_or_set("k", compute))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["made"] * 20 and len(computed) == 1


def test_asynchronous_methods(cache):
    async def main():
        assert await cache.aget("k", 1) == 1
        await cache.aset("k", 1)
        assert await cache.aget("k") == 1 and await cache.ahas_key("k") and not await cache.aadd("k", 2)
        assert await cache.aincr("k", 4) == 5 and await cache.adecr("k") == 4 and await cache.atouch("k", 60)
        await cache.aset_many({"a": 1, "b": 2})
        assert await cache.aget_many("abc") == {"a": 1, "b": 2}
        await cache.adelete_many("a")
        assert await cache.adelete("b") and await cache.aget_many("ab") == {}
        assert await cache.aincr_version("k") == 2 and await cache.adecr_version("k", version=2) == 1
        made = await asyncio.gather(*(cache.aget_or_set("m", lambda: made_by.append(1) or 9) for _ in range(50)))
        assert made == [9] * 50 and made_by == [1]
        await cache.aclear()
        assert await cache.aget("k") is None
        await cache.aclose()

    made_by = []
    asyncio.run(main())


SITE = """
import sys
from django.conf import settings
settings.configure(CACHES={"default": {"BACKEND": "cachetastic.django.CachetasticCache", "LOCATION": sys.argv[1]}},
                   SESSION_ENGINE="django.contrib.sessions.backends.cache", ROOT_URLCONF="__main__", SECRET_KEY="x",
                   ALLOWED_HOSTS=["*"], MIDDLEWARE=["django.middleware.cache.UpdateCacheMiddleware",
                   "django.contrib.sessions.middleware.SessionMiddleware",
                   "django.middleware.cache.FetchFromCacheMiddleware"],
                   INSTALLED_APPS=["django.contrib.sessions"])
import django
django.setup()
from django.http import HttpResponse
from django.test import Client
from django.urls import path
from django.views.decorators.cache import cache_page
served = []
@cache_page(60)
def page(request):
    served.append("page")
    return HttpResponse("page")
def count(request):
    request.session["n"] = request.session.get("n", 0) + 1
    return HttpResponse(str(request.session["n"]), headers={"Cache-Control": "no-store, private"})
urlpatterns = [path("page", page), path("count", count)]
client = Client()
assert [client.get("/page").content for _ in range(3)] == [b"page"] * 3 and served == ["page"]
assert [client.get("/count").content for _ in range(3)] == [b"1", b"2", b"3"]
from django.core.cache import cache
from django.core.cache.utils import make_template_fragment_key
cache.set(make_template_fragment_key("part", ["x"]), "<p>", 30)
from django.template import Context, Engine
text = "{% load cache %}{% cache 30 part x %}{{ body }}{% endcache %}"
engine = Engine(libraries={"cache": "django.templatetags.cache"})
assert engine.from_string(text).render(Context({"x": "x", "body": "new"})) == "<p>"
print("ok")
"""


def test_a_site_with_pages_sessions_and_fragments(daemon, cache):
    done = subprocess.run(["/usr/bin/python3", "-c", SITE, str(daemon.socket)], capture_output=True, text=True,
                          env=python_package.environment())
    assert done.stdout == "ok\n", done.stderr
