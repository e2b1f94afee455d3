"""Django's cache API on pymemcache and on pylibmc."""
import sys

import django
from django.conf import settings

from checks import named

settings.configure(
    CACHES={"default": {"BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache", "LOCATION": f"unix:{sys.argv[1]}"},
            "tcp": {"BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache", "LOCATION": f"127.0.0.1:{sys.argv[2]}",
                    "KEY_PREFIX": "tcp"},
            "pylibmc": {"BACKEND": "django.core.cache.backends.memcached.PyLibMCCache", "LOCATION": sys.argv[1],
                        "KEY_PREFIX": "libmc", "OPTIONS": {"binary": True}}},
    USE_TZ=True)
django.setup()
from django.core.cache import caches  # noqa: E402


def suite(name):
    cache = caches[name]

    @named(f"{name}: ")
    def get_set_delete():
        cache.set("k", {"deep": [1, 2]}, timeout=60)
        assert cache.get("k") == {"deep": [1, 2]} and "k" in cache
        assert cache.get("nope", "default") == "default"
        assert cache.touch("k", 100) is True and cache.touch("nope", 100) is False
        assert cache.delete("k") is True and cache.delete("k") is False and cache.get("k") is None
        cache.set("gone", 1, timeout=0)
        assert cache.get("gone") is None
        assert cache.get_or_set("computed", lambda: "value", 60) == "value"

    @named(f"{name}: ")
    def add():
        assert cache.add("a", 1) is True and cache.add("a", 2) is False and cache.get("a") == 1
        cache.delete("a")

    @named(f"{name}: ")
    def many():
        assert cache.set_many({"a": 1, "b": "two"}, timeout=60) == []
        assert cache.get_many(["a", "b", "nope"]) == {"a": 1, "b": "two"}
        cache.delete_many(["a", "b"])
        assert cache.get_many(["a", "b"]) == {}

    @named(f"{name}: ")
    def counters():
        cache.set("n", 1)
        assert cache.incr("n") == 2 and cache.decr("n") == 1 and cache.incr("n", 10) == 11 and cache.get("n") == 11
        try:
            cache.incr("absent")
        except ValueError:
            pass
        else:
            raise AssertionError("incr of an absent key")
        assert cache.incr_version("n") == 2

    @named(f"{name}: ")
    def clear():
        cache.set("k", 1)
        cache.clear()
        assert cache.get("k") is None


for name in ("default", "tcp", "pylibmc"):
    suite(name)
