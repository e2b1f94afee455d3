"""What can go wrong. A key that is not there is no error."""


class CacheError(Exception):
    """Any failure of the cache."""


class InvalidError(CacheError, ValueError):
    """An argument is wrong, or over a limit, which is named."""


class DownError(CacheError, ConnectionError):
    """No daemon serves the socket; nothing was done."""


class LostError(CacheError, ConnectionError):
    """The connection ended; what was asked may have been done."""


class CacheTimeoutError(CacheError, TimeoutError):
    """No answer in time; what was asked may still be done."""


class ProtocolError(CacheError):
    """The other side of the socket is not this daemon."""


class DeniedError(CacheError, PermissionError):
    """The daemon wants a user, or this one may not do that."""


class RefusedError(CacheError):
    """The daemon refused it, in the words of the message."""


class BusyError(CacheError):
    """A fetch: another process computes the value and did not end in time, or failed lately."""


class SerializerError(CacheError, ValueError):
    """The serializer does not take the object, or the stored bytes."""
