"""dogpile.cache's memcached backends, with their distributed lock."""
import sys

from dogpile.cache import make_region

from checks import named
from dogpile_behaviours import check_region

BACKENDS = {
    "dogpile.cache.pymemcache": {"url": [f"127.0.0.1:{sys.argv[2]}"]},
    "dogpile.cache.pylibmc": {"url": [sys.argv[1]], "binary": False},
    "pylibmc in binary": {"url": [sys.argv[1]], "binary": True},
}


def suite(name, arguments):
    backend = name if name.startswith("dogpile") else "dogpile.cache.pylibmc"
    region = make_region(key_mangler=lambda key: f"{name}:{key}".replace(" ", "_")).configure(
        backend, expiration_time=60, arguments={"distributed_lock": True, "lock_timeout": 10, **arguments})

    check_region(region, f"{name}: ")

    @named(f"{name}: ")
    def a_lock_is_one_holder_s():
        mine, other = region.backend.get_mutex("l"), region.backend.get_mutex("l")
        assert mine.acquire(True) and not other.acquire(False)
        mine.release()
        assert other.acquire(False)
        other.release()


for name, arguments in BACKENDS.items():
    suite(name, arguments)
