"""The caches of this machine's cachetastic."""

from .aio import AsyncCache
from .cache import Cache
from .errors import (BusyError, CacheError, CacheTimeoutError, DeniedError, DownError, InvalidError, LostError,
                     ProtocolError, RefusedError, SerializerError)

__version__ = "0.1.0"
__all__ = ["AsyncCache", "BusyError", "Cache", "CacheError", "CacheTimeoutError", "DeniedError", "DownError",
           "InvalidError", "LostError", "ProtocolError", "RefusedError", "SerializerError"]
