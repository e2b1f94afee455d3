"""A named cache of this machine's daemon."""

import functools
import json

from . import _cachetastic, serializers
from .errors import BusyError

_VALUE, _COMPUTE, _BUSY, _WAIT = range(4)
_MISSING = object()


def milliseconds(seconds):
    """A time to live in the daemon's unit: 0 for None (no expiry), -1 for one that is over already."""
    if seconds is None:
        return 0
    if hasattr(seconds, "total_seconds"):
        seconds = seconds.total_seconds()
    return max(1, round(seconds * 1000)) if seconds > 0 else -1


def _wait(seconds):
    return max(0, round(seconds * 1000))


def _option(text):
    if text is None or isinstance(text, bytes):
        return text
    return str(text).encode()


class Cache(_cachetastic.Client):
    """A named cache of this machine's daemon.

    Where the daemon allows it (caches.direct), hits are read from shared memory without a system call; everything else
    goes through the unix socket. One object may be used by any number of threads, and after a fork by both processes.
    Keys are str (as UTF-8) or bytes, times are seconds (or timedelta), failures are exceptions of cachetastic.errors.

    name: of the cache. socket: a path; None: $CACHETASTIC_SOCKET, else the packaged daemon's. serializer: "json",
    "pickle", "msgpack", "raw", or a pair (dumps, loads). user, password: to log in with. timeout: seconds for
    connecting and for each call. direct: False to use the socket alone.

    pickle runs what it reads: use it only where every process that may write the cache is trusted.
    """

    def __init__(self, name="default", socket=None, serializer="json", *, user=None, password=None, timeout=1.0,
                 direct=True):
        self.serializer = serializers.serializer(serializer)
        super().__init__(_option(socket), _option(name), _option(user), _option(password), max(1, _wait(timeout)),
                         direct, self.serializer.decoder, self.serializer.loads)
        self.name = name

    def _dumps(self, value):
        return serializers.encode(self.serializer, value)

    def set(self, key, value, ttl=None, *, tags=(), if_absent=False, if_present=False):
        """Store a value. ttl: seconds; None: no expiry; 0 or less: it is removed. tags: for invalidate_tags().
        if_absent, if_present: only where there is none, or one. Returns whether it was stored."""
        if if_absent and if_present:
            raise ValueError("if_absent and if_present exclude each other")
        ttl_ms = milliseconds(ttl)
        if ttl_ms < 0:
            if if_absent or if_present:
                raise ValueError("a condition needs a ttl above 0")
            self.delete(key)
            return True
        return self._put(key, self._dumps(value), ttl_ms, tags, -1 if if_absent else int(if_present))

    def add(self, key, value, ttl=None, *, tags=()):
        """Store a value where there is none; whether it was stored."""
        return self.set(key, value, ttl, tags=tags, if_absent=True)

    def set_many(self, values, ttl=None, *, tags=()):
        """Store each key of a mapping, in as few writes as possible."""
        ttl_ms = milliseconds(ttl)
        if ttl_ms < 0:
            self.delete_many(values)
            return True
        return self._put_many(tuple(values), tuple(map(self._dumps, values.values())), ttl_ms, tags)

    def incr(self, key, by=1):
        """Add to a number, which begins at 0 and keeps its expiry; returns the sum."""
        return self._incr(key, by)

    def decr(self, key, by=1):
        """Subtract from a number; returns the difference."""
        return self._incr(key, -by)

    def ttl(self, key):
        """Seconds that a key has left; None: it does not expire. KeyError: it is not there."""
        left = self._ttl(key)
        if left is None:
            raise KeyError(key)
        return None if left == 0 else left / 1000

    def touch(self, key, ttl=None):
        """Let a key expire in ttl seconds; None: not at all; 0 or less: it is removed. Whether it was there."""
        ttl_ms = milliseconds(ttl)
        return self.delete(key) if ttl_ms < 0 else self._touch(key, ttl_ms)

    def stats(self):
        """The cache's figures, a dict."""
        return json.loads(self._stats())

    def fetch(self, key, callback, ttl=None, *, tags=(), stale=0, wait=5.0, lease=10.0, beta=1.0, retry=0,
              busy="raise"):
        """The value of a key; where there is none, callback() computes it: once, however many processes of this
        machine ask, and the others wait for it.

        stale: a value so many seconds past its expiry will do while another is computed, or where that fails. wait:
        for another's computation. lease: how long one's own may take before another may try. beta: of the early
        refresh of hot keys; 0: none. retry: after a failure nobody tries again within that time. busy: what happens
        when another is not done within wait: "raise" BusyError, or "compute" for this caller alone.
        """
        state, value, token = self._begin(key, _wait(wait), _wait(lease), _wait(stale), beta or -1.0, False, False)
        if state == _VALUE:
            return value
        if state == _COMPUTE:
            return self._compute(token, value, callback, ttl, tags, stale, retry)
        return self._when_busy(key, callback, busy)

    @staticmethod
    def _when_busy(key, callback, busy):
        if busy != "compute":
            raise BusyError(f"another computes {key!r}")
        return callback()

    def _compute(self, lease, older, callback, ttl, tags, stale, retry):
        try:
            value = callback()
        except BaseException as error:
            self._give_back(lease, retry)
            if older is None or not isinstance(error, Exception):
                raise
            return older
        self._fill(lease, value, ttl, tags, stale)
        return value

    def _fill(self, lease, value, ttl, tags, stale):
        """Store what a lease was for. A value that is over already is for the caller alone."""
        try:
            ttl_ms = milliseconds(ttl)
            if ttl_ms >= 0:
                lease.fill(self._dumps(value), ttl_ms, _wait(stale), tags)
        except (ConnectionError, TimeoutError):
            pass  # the value was computed; a daemon that went away does not make it less true
        finally:
            self._give_back(lease, 0)

    @staticmethod
    def _give_back(lease, retry):
        try:
            if lease.open:
                lease.fail(_wait(retry))
        except (ConnectionError, TimeoutError):
            pass  # the daemon ends it with the connection, or at its deadline

    def cached(self, ttl=None, key=None, tags=(), **options):
        """Decorator: keep what a function returns. key: a string for str.format() with the arguments
        ("user:{0}:{lang}"), a function of them, or None: made of the function's name and the arguments' repr(). tags:
        likewise a tuple of such strings, or a function. options: of fetch(). The function gets invalidate(*arguments).
        """
        def decorate(function):
            return _Cached(self, function, ttl, key, tags, options)
        return decorate

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def __repr__(self):
        return f"<{type(self).__name__} {self.name!r}>"

    def __reduce__(self):
        raise TypeError("a Cache is not pickled; open one in each process")


def key_of(function, pattern, args, kwargs):
    """The key of a decorated function's call."""
    if callable(pattern):
        return pattern(*args, **kwargs)
    if pattern is not None:
        return pattern.format(*args, **kwargs)
    words = [repr(arg) for arg in args] + [f"{name}={kwargs[name]!r}" for name in sorted(kwargs)]
    return f"{function.__module__}.{function.__qualname__}({','.join(words)})"


def tags_of(tags, args, kwargs):
    if callable(tags):
        return tags(*args, **kwargs)
    return tuple(tag.format(*args, **kwargs) for tag in tags)


class _Cached:
    """A function and the cache that keeps its results."""

    def __init__(self, cache, function, ttl, key, tags, options):
        functools.update_wrapper(self, function)
        self.cache, self.function, self.ttl, self.key, self.tags = cache, function, ttl, key, tags
        self.options = options

    def __call__(self, *args, **kwargs):
        return self.cache.fetch(key_of(self.function, self.key, args, kwargs),
                                lambda: self.function(*args, **kwargs), self.ttl,
                                tags=tags_of(self.tags, args, kwargs), **self.options)

    def __get__(self, instance, owner=None):
        return self if instance is None else functools.partial(self, instance)

    def invalidate(self, *args, **kwargs):
        """Forget the result of a call with these arguments."""
        return self.cache.delete(key_of(self.function, self.key, args, kwargs))
