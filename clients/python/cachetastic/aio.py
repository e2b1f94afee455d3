"""The cache for asyncio.

Direct reads are answered in the event loop: they take less time than any switch. What may wait runs in a thread, with
the interpreter's lock released: the library that follows restarts, forks and leases is the same one, and there is no
second client to keep right. Waits for another's computation have threads of their own, so that they never hold up the
call that would end them; and of the tasks of one process only one at a time waits for a key, the others for that task.
"""

import asyncio
import functools
import inspect
import os
import threading
from concurrent.futures import ThreadPoolExecutor

from .cache import _BUSY, _COMPUTE, _MISSING, _WAIT, Cache, _wait, key_of, tags_of
from .errors import BusyError

_CALLS, _WAITS = 4, 32  # threads
_UNKNOWN = object()


class _Threads:
    """Two pools, of this process: a fork's child has none of its parent's threads."""

    def __init__(self):
        self.lock = threading.Lock()
        self.pid, self.calls, self.waits = None, None, None

    def of(self, waits):
        with self.lock:
            if self.pid != os.getpid():
                self.pid = os.getpid()
                self.calls = ThreadPoolExecutor(_CALLS, "cachetastic-call")
                self.waits = ThreadPoolExecutor(_WAITS, "cachetastic-wait")
            return self.waits if waits else self.calls


_threads = _Threads()
os.register_at_fork(after_in_child=_threads.__init__)


async def _in_thread(function, *args, waits=False, **kwargs):
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_threads.of(waits), functools.partial(function, *args, **kwargs))


class AsyncCache:
    """Cache for asyncio: the same names and arguments, to be awaited. A callback of fetch() may be a coroutine
    function."""

    def __init__(self, name="default", socket=None, serializer="json", **options):
        self._over(Cache(name, socket, serializer, **options))

    def _over(self, cache):
        self.cache, self.name, self._fetching = cache, cache.name, {}

    @classmethod
    def over(cls, cache):
        """The same cache, and the same connections, as a Cache has."""
        self = cls.__new__(cls)
        self._over(cache)
        return self

    async def get(self, key, default=None):
        """The value of a key, or default where there is none."""
        value = self.cache._peek(key, default, _UNKNOWN)
        return value if value is not _UNKNOWN else await _in_thread(self.cache.get, key, default)

    async def has(self, key):
        """Whether a key is there."""
        there = self.cache._peek_has(key)
        return there if there is not None else await _in_thread(self.cache.has, key)

    async def get_many(self, keys):
        """The values of those keys that are there."""
        found, unknown = {}, []
        for key in keys:
            value = self.cache._peek(key, _MISSING, _UNKNOWN)
            if value is _UNKNOWN:
                unknown.append(key)
            elif value is not _MISSING:
                found[key] = value
        return found | await _in_thread(self.cache.get_many, unknown) if unknown else found

    async def set(self, key, value, ttl=None, **options):
        """As Cache.set()."""
        return await _in_thread(self.cache.set, key, value, ttl, **options)

    async def add(self, key, value, ttl=None, **options):
        """As Cache.add()."""
        return await _in_thread(self.cache.add, key, value, ttl, **options)

    async def set_many(self, values, ttl=None, **options):
        """As Cache.set_many()."""
        return await _in_thread(self.cache.set_many, dict(values), ttl, **options)

    async def delete(self, key):
        """Remove a key; whether it was there."""
        return await _in_thread(self.cache.delete, key)

    async def delete_many(self, keys):
        """Remove keys; how many were there."""
        return await _in_thread(self.cache.delete_many, tuple(keys))

    async def clear(self):
        """Remove everything in this cache."""
        return await _in_thread(self.cache.clear)

    async def delete_pattern(self, pattern):
        """Remove the keys that match a glob."""
        return await _in_thread(self.cache.delete_pattern, pattern)

    async def invalidate_tags(self, tags):
        """Remove every entry that carries one of the tags."""
        return await _in_thread(self.cache.invalidate_tags, tuple(tags))

    async def incr(self, key, by=1):
        """Add to a number; returns the sum."""
        return await _in_thread(self.cache.incr, key, by)

    async def decr(self, key, by=1):
        """Subtract from a number; returns the difference."""
        return await _in_thread(self.cache.decr, key, by)

    async def touch(self, key, ttl=None):
        """As Cache.touch()."""
        return await _in_thread(self.cache.touch, key, ttl)

    async def ttl(self, key):
        """As Cache.ttl()."""
        return await _in_thread(self.cache.ttl, key)

    async def stats(self):
        """The cache's figures, a dict."""
        return await _in_thread(self.cache.stats)

    async def fetch(self, key, callback, ttl=None, *, tags=(), stale=0, wait=5.0, lease=10.0, beta=1.0, retry=0,
                    busy="raise"):
        """As Cache.fetch()."""
        how = (key, _wait(wait), _wait(lease), _wait(stale), beta or -1.0)
        state, value, token = self.cache._begin(*how, False, True)
        while state == _WAIT:
            refresh, other = value, self._fetching.get(key)
            if other is None:
                return await self._alone(how, refresh, callback, ttl, tags, stale, retry, busy)
            await asyncio.wait([other], timeout=wait)
            if not other.done():
                return await self._when_busy(key, callback, busy)
            if not other.cancelled() and other.result():
                return other.result()[0]
            state, value, token = self.cache._begin(*how, False, True)
        return value

    async def _alone(self, how, refresh, callback, ttl, tags, stale, retry, busy):
        """The one task of this process that asks for the key; the others get what it gets."""
        key = how[0]
        mine = self._fetching[key] = asyncio.get_running_loop().create_future()
        result = ()
        try:
            state, value, lease = await _in_thread(self.cache._begin, *how, refresh, False, waits=True)
            if state == _BUSY:
                return await self._when_busy(key, callback, busy)
            if state == _COMPUTE:
                value = await self._compute(lease, value, callback, ttl, tags, stale, retry)
            result = (value,)
            return value
        finally:
            del self._fetching[key]
            mine.set_result(result)

    async def _compute(self, lease, older, callback, ttl, tags, stale, retry):
        try:
            value = await _call(callback)
        except Exception:
            await _in_thread(self.cache._give_back, lease, retry)
            if older is None:
                raise
            return older
        await _in_thread(self.cache._fill, lease, value, ttl, tags, stale)
        return value

    async def _when_busy(self, key, callback, busy):
        if busy != "compute":
            raise BusyError(f"another computes {key!r}")
        return await _call(callback)

    def cached(self, ttl=None, key=None, tags=(), **options):
        """As Cache.cached(), of a coroutine function."""
        def decorate(function):
            @functools.wraps(function)
            async def cached(*args, **kwargs):
                return await self.fetch(key_of(function, key, args, kwargs), lambda: function(*args, **kwargs), ttl,
                                        tags=tags_of(tags, args, kwargs), **options)

            async def invalidate(*args, **kwargs):
                return await self.delete(key_of(function, key, args, kwargs))

            cached.invalidate = invalidate
            return cached
        return decorate

    async def close(self):
        """Close the connections. The next call opens one anew."""
        await _in_thread(self.cache.close)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *unused):
        await self.close()


async def _call(callback):
    value = callback()
    return await value if inspect.isawaitable(value) else value
