"""dogpile.cache's redis backend, with its distributed lock."""
import sys

from dogpile.cache import make_region
from dogpile.cache.api import NO_VALUE

from checks import check

region = make_region(key_mangler=lambda key: f"dogpile:{key}").configure(
    "dogpile.cache.redis", expiration_time=60,
    arguments={"url": f"unix://{sys.argv[1]}?db=0", "redis_expiration_time": 120, "distributed_lock": True,
               "thread_local_lock": False, "lock_timeout": 10})


@check
def get_set_delete():
    region.set("k", {"deep": [1, 2]})
    assert region.get("k") == {"deep": [1, 2]}
    region.delete("k")
    assert region.get("k") is NO_VALUE


@check
def many():
    region.set_multi({"a": 1, "b": 2})
    assert region.get_multi(["a", "nope", "b"]) == [1, NO_VALUE, 2]
    region.delete_multi(["a", "b"])
    assert region.get("a") is NO_VALUE


@check
def computed_once_under_the_lock():
    calls = []

    @region.cache_on_arguments()
    def slow(x):
        calls.append(x)
        return x * 2

    assert [slow(4), slow(4), slow(5)] == [8, 8, 10]
    assert calls == [4, 5]
    slow.invalidate(4)
    assert slow(4) == 8 and calls == [4, 5, 4]
