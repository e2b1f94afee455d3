"""Django's cache API on django-redis."""
import sys

import django
from django.conf import settings

from checks import check

settings.configure(
    CACHES={"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": f"unix://{sys.argv[1]}?db=1",
                        "OPTIONS": {"CLIENT_CLASS": "django_redis.client.DefaultClient"}}},
    USE_TZ=True)
django.setup()
from django.core.cache import cache  # noqa: E402

cache.clear()


@check
def get_set_delete():
    assert cache.set("k", {"deep": [1, 2]}, timeout=60) is True
    assert cache.get("k") == {"deep": [1, 2]}
    assert cache.get("nope", "default") == "default"
    assert "k" in cache and cache.ttl("k") > 50
    assert cache.touch("k", 100) is True
    assert cache.delete("k")
    assert cache.get("k") is None
    cache.set("gone", 1, timeout=0)
    assert cache.get("gone") is None
    assert cache.get_or_set("computed", lambda: "value", 60) == "value"


@check
def add():
    assert cache.add("a", 1) is True
    assert cache.add("a", 2) is False


@check
def many():
    cache.set_many({"a": 1, "b": "two"}, timeout=60)
    assert cache.get_many(["a", "b", "nope"]) == {"a": 1, "b": "two"}
    cache.delete_many(["a", "b"])
    assert cache.get_many(["a", "b"]) == {}


@check
def counters():
    cache.set("n", 1)
    assert cache.incr("n") == 2
    assert cache.decr("n") == 1
    assert cache.incr("n", 10) == 11
    try:
        cache.incr("absent")
    except ValueError:
        pass
    else:
        raise AssertionError("incr of an absent key")
    assert cache.incr_version("n") == 2


@check
def patterns():
    cache.set_many({"p:1": 1, "p:2": 2})
    assert sorted(cache.keys("p:*")) == ["p:1", "p:2"]
    assert sorted(cache.iter_keys("p:*")) == ["p:1", "p:2"]
    assert cache.delete_pattern("p:*") == 2


@check
def locks():
    with cache.lock("l", timeout=5):
        assert not cache.lock("l", timeout=5, blocking_timeout=0.1).acquire()
    assert cache.lock("l", timeout=5, blocking_timeout=0.1).acquire()


@check
def clear():
    cache.set("k", "v")
    cache.clear()
    assert cache.get("k") is None
