"""dogpile.cache's memcached backends, with their distributed lock."""
import sys

from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE

from checks import check

BACKENDS = {
    "dogpile.cache.pymemcache": {"url": [f"127.0.0.1:{sys.argv[2]}"]},
    "dogpile.cache.pylibmc": {"url": [sys.argv[1]], "binary": False},
    "pylibmc in binary": {"url": [sys.argv[1]], "binary": True},
}


def suite(name, arguments):
    backend = name if name.startswith("dogpile") else "dogpile.cache.pylibmc"
    region = make_region(key_mangler=lambda key: f"{name}:{key}".replace(" ", "_")).configure(
        backend, expiration_time=60, arguments={"distributed_lock": True, "lock_timeout": 10, **arguments})

    def named(body):
        body.__name__ = f"{name}: {body.__name__}"
        return check(body)

    @named
    def get_set_delete():
        region.set("k", {"deep": [1, 2]})
        assert region.get("k") == {"deep": [1, 2]}
        region.delete("k")
        assert region.get("k") is NO_VALUE

    @named
    def many():
        region.set_multi({"a": 1, "b": 2})
        assert region.get_multi(["a", "nope", "b"]) == [1, NO_VALUE, 2]
        region.delete_multi(["a", "b"])
        assert region.get("a") is NO_VALUE

    @named
    def computed_once_under_the_lock():
        calls = []

        @region.cache_on_arguments()
        def slow(x):
            calls.append(x)
            return x * 2

        assert [slow(4), slow(4), slow(5)] == [8, 8, 10] and calls == [4, 5]
        slow.invalidate(4)
        assert slow(4) == 8 and calls == [4, 5, 4]

    @named
    def a_lock_is_one_holder_s():
        mine, other = region.backend.get_mutex("l"), region.backend.get_mutex("l")
        assert mine.acquire(True) and not other.acquire(False)
        mine.release()
        assert other.acquire(False)
        other.release()


for name, arguments in BACKENDS.items():
    suite(name, arguments)
