"""What a dogpile.cache region does on every backend, for the suites of its backends."""

from dogpile.cache.api import NO_VALUE

from checks import named


def check_region(region, prefix=""):
    @named(prefix)
    def get_set_delete():
        region.set("k", {"deep": [1, 2]})
        assert region.get("k") == {"deep": [1, 2]}
        region.delete("k")
        assert region.get("k") is NO_VALUE

    @named(prefix)
    def many():
        region.set_multi({"a": 1, "b": 2})
        assert region.get_multi(["a", "nope", "b"]) == [1, NO_VALUE, 2]
        region.delete_multi(["a", "b"])
        assert region.get("a") is NO_VALUE

    @named(prefix)
    def computed_once_under_the_lock():
        calls = []

        @region.cache_on_arguments()
        def slow(x):
            calls.append(x)
            return x * 2

        assert [slow(4), slow(4), slow(5)] == [8, 8, 10] and calls == [4, 5]
        slow.invalidate(4)
        assert slow(4) == 8 and calls == [4, 5, 4]
