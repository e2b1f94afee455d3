"""A backend for dogpile.cache.

    import cachetastic.dogpile
    region = make_region().configure("cachetastic", expiration_time=60, arguments={"cache": "default"})

arguments: cache, socket, user, password, timeout, direct: those of cachetastic.Cache; ttl: seconds after which the
daemon drops an entry (longer than the region's expiration_time, or None); distributed_lock (True): one process of the
machine creates a value, the others wait; lock_timeout (30): seconds after which another may.
"""

from dogpile.cache import register_backend
from dogpile.cache.api import NO_VALUE, BytesBackend

from .cache import _BUSY, _COMPUTE, Cache, _wait

_ONE_WAIT = 5.0  # seconds a single question to the daemon may take


class Mutex:
    """A lock of this machine: the lease of a key that never has a value. It ends with the process that holds it."""

    def __init__(self, cache, key, timeout):
        self._cache, self._key, self._timeout = cache, key, timeout
        self._lease = None

    def acquire(self, wait=True):
        """Take it. wait: until it is free. Returns whether it was taken."""
        while True:
            state, _, lease = self._cache._begin(self._key, _wait(_ONE_WAIT) if wait else 0, _wait(self._timeout), 0,
                                                 -1.0, False, False)
            if state == _COMPUTE:
                self._lease = lease
                return True
            if state != _BUSY:
                # Somebody stored a value under the lock's key: without it, it is a lock again.
                self._cache.delete(self._key)
            if not wait:
                return False

    def release(self):
        """Let the next one have it."""
        lease, self._lease = self._lease, None
        if lease is None:
            raise RuntimeError("release of a lock that is not held")
        self._cache._give_back(lease, 0)

    def locked(self):
        """Whether anybody holds it."""
        if self._lease is not None:
            return True
        if not self.acquire(wait=False):
            return True
        self.release()
        return False


class CachetasticBackend(BytesBackend):
    """dogpile.cache's bytes in a named cache of this machine's daemon."""

    def __init__(self, arguments):
        arguments = dict(arguments)
        self._ttl = arguments.pop("ttl", None)
        self._locks = arguments.pop("distributed_lock", True)
        self._lock_timeout = arguments.pop("lock_timeout", 30.0)
        self._cache = Cache(arguments.pop("cache", "default"), arguments.pop("socket", None), "raw", **arguments)

    def get_mutex(self, key):
        return Mutex(self._cache, "_lock" + key, self._lock_timeout) if self._locks else None

    def get_serialized(self, key):
        return self._cache.get(key, NO_VALUE)

    def get_serialized_multi(self, keys):
        found = self._cache.get_many(keys)
        return [found.get(key, NO_VALUE) for key in keys]

    def set_serialized(self, key, value):
        self._cache.set(key, value, self._ttl)

    def set_serialized_multi(self, mapping):
        self._cache.set_many(mapping, self._ttl)

    def delete(self, key):
        self._cache.delete(key)

    def delete_multi(self, keys):
        self._cache.delete_many(keys)


register_backend("cachetastic", "cachetastic.dogpile", "CachetasticBackend")
