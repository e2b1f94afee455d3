"""A cache backend for Django.

    CACHES = {"default": {"BACKEND": "cachetastic.django.CachetasticCache",
                          "LOCATION": "/run/cachetastic/cachetastic.sock",      # or ""
                          "OPTIONS": {"cache": "default"}}}

OPTIONS: cache (the named cache), serializer (pickle), user, password, timeout, direct: those of cachetastic.Cache.
clear() clears the whole named cache: give Django one of its own. get_or_set() has a missing value computed once, by one
process of the machine.
"""

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from .aio import AsyncCache, _in_thread
from .cache import Cache, milliseconds
from .errors import RefusedError


class CachetasticCache(BaseCache):
    """Django's cache on a named cache of this machine's daemon."""

    def __init__(self, location, params):
        super().__init__(params)
        options = dict(params.get("OPTIONS", {}))
        # Django's own, which mean nothing here: the daemon evicts.
        for name in ("MAX_ENTRIES", "CULL_FREQUENCY"):
            options.pop(name, None)
        self._cache = Cache(options.pop("cache", "default"), location or None, options.pop("serializer", "pickle"),
                            **options)
        self._async = AsyncCache.over(self._cache)

    def _key(self, key, version):
        key = self.make_key(key, version=version)
        self.validate_key(key)
        return key

    def _ttl(self, timeout):
        return self.default_timeout if timeout is DEFAULT_TIMEOUT else timeout

    def get(self, key, default=None, version=None):
        return self._cache.get(self._key(key, version), default)

    def set(self, key, value, timeout=DEFAULT_TIMEOUT, version=None):
        self._cache.set(self._key(key, version), value, self._ttl(timeout))

    def add(self, key, value, timeout=DEFAULT_TIMEOUT, version=None):
        key, ttl = self._key(key, version), self._ttl(timeout)
        if milliseconds(ttl) < 0:
            return not self._cache.has(key)
        return self._cache.add(key, value, ttl)

    def touch(self, key, timeout=DEFAULT_TIMEOUT, version=None):
        return self._cache.touch(self._key(key, version), self._ttl(timeout))

    def delete(self, key, version=None):
        return self._cache.delete(self._key(key, version))

    def has_key(self, key, version=None):
        return self._cache.has(self._key(key, version))

    def incr(self, key, delta=1, version=None):
        """ValueError where there is no such key, or its value is no integer."""
        name = self._key(key, version)
        if not self._cache.has(name):
            raise ValueError(f"Key '{key}' not found")
        try:
            return self._cache.incr(name, delta)
        except RefusedError as error:
            raise ValueError(f"Key '{key}': {error}") from error

    def get_many(self, keys, version=None):
        names = {self._key(key, version): key for key in keys}
        return {names[name]: value for name, value in self._cache.get_many(names).items()}

    def set_many(self, data, timeout=DEFAULT_TIMEOUT, version=None):
        self._cache.set_many({self._key(key, version): value for key, value in data.items()}, self._ttl(timeout))
        return []

    def delete_many(self, keys, version=None):
        self._cache.delete_many([self._key(key, version) for key in keys])

    def get_or_set(self, key, default, timeout=DEFAULT_TIMEOUT, version=None):
        """The value of a key, computed by default where there is none: once, whoever asks on this machine."""
        return self._cache.fetch(self._key(key, version), default if callable(default) else lambda: default,
                                 self._ttl(timeout), busy="compute")

    def clear(self):
        self._cache.clear()

    def close(self, **kwargs):
        """At the end of a request Django closes its caches; connections are kept for the next one."""

    # Django 3.2 has no asynchronous methods in BaseCache, and later ones run the above in a thread: a direct read is
    # done sooner than that.

    async def aget(self, key, default=None, version=None):
        return await self._async.get(self._key(key, version), default)

    async def aset(self, key, value, timeout=DEFAULT_TIMEOUT, version=None):
        return await _in_thread(self.set, key, value, timeout, version)

    async def aadd(self, key, value, timeout=DEFAULT_TIMEOUT, version=None):
        return await _in_thread(self.add, key, value, timeout, version)

    async def atouch(self, key, timeout=DEFAULT_TIMEOUT, version=None):
        return await _in_thread(self.touch, key, timeout, version)

    async def adelete(self, key, version=None):
        return await _in_thread(self.delete, key, version)

    async def ahas_key(self, key, version=None):
        return await self._async.has(self._key(key, version))

    async def aincr(self, key, delta=1, version=None):
        return await _in_thread(self.incr, key, delta, version)

    async def adecr(self, key, delta=1, version=None):
        return await _in_thread(self.incr, key, -delta, version)

    async def aget_many(self, keys, version=None):
        return await _in_thread(self.get_many, tuple(keys), version)

    async def aset_many(self, data, timeout=DEFAULT_TIMEOUT, version=None):
        return await _in_thread(self.set_many, data, timeout, version)

    async def adelete_many(self, keys, version=None):
        return await _in_thread(self.delete_many, tuple(keys), version)

    async def aget_or_set(self, key, default, timeout=DEFAULT_TIMEOUT, version=None):
        return await self._async.fetch(self._key(key, version), default if callable(default) else lambda: default,
                                       self._ttl(timeout), busy="compute")

    async def aincr_version(self, key, delta=1, version=None):
        return await _in_thread(self.incr_version, key, delta, version)

    async def adecr_version(self, key, delta=1, version=None):
        return await _in_thread(self.decr_version, key, delta, version)

    async def aclear(self):
        return await _in_thread(self.clear)

    async def aclose(self, **kwargs):
        """As close()."""
