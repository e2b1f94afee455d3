"""Objects to bytes and back.

Integers are stored as decimal text by every serializer here, so that Cache.incr() works on what Cache.set() stored and
Cache.get() reads what incr() made.
"""

import json as _json
import pickle as _pickle
from collections import namedtuple

from .errors import SerializerError

Serializer = namedtuple("Serializer", "dumps loads decoder")
Serializer.__doc__ = "A pair of functions; decoder says how the extension calls loads."

_RAW, _JSON, _CALL = range(3)
_INT64 = range(-(1 << 63), 1 << 63)

# Without spaces and with characters as they are: what PHP's and the C library's JSON read and write too.
_encode = _json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_decode = _json.JSONDecoder().decode


def _dumps_json(value):
    return _encode(value).encode()


def _dumps_raw(value):
    if isinstance(value, str):
        return value.encode()
    if type(value) is int:
        return b"%d" % value
    return bytes(memoryview(value))


def _is_number(value):
    return type(value) is int and value in _INT64


def _is_decimal(data):
    digits = data[1:] if data[:1] == b"-" else data
    return digits.isdigit()


def _dumps_pickle(value):
    return b"%d" % value if _is_number(value) else _pickle.dumps(value, protocol=_pickle.HIGHEST_PROTOCOL)


def _loads_pickle(data):
    return int(data) if _is_decimal(data) else _pickle.loads(data)


def _msgpack():
    import msgpack

    def dumps(value):
        return b"%d" % value if _is_number(value) else msgpack.packb(value, use_bin_type=True)

    def loads(data):
        return int(data) if _is_decimal(data) else msgpack.unpackb(data, raw=False)

    return Serializer(dumps, loads, _CALL)


_BY_NAME = {
    "raw": lambda: Serializer(_dumps_raw, None, _RAW),
    "json": lambda: Serializer(_dumps_json, _decode, _JSON),
    "pickle": lambda: Serializer(_dumps_pickle, _loads_pickle, _CALL),
    "msgpack": _msgpack,
}


def serializer(which):
    """The serializer of a name ("json", "pickle", "msgpack", "raw"), or of a pair (dumps, loads) or an object with
    these two: dumps gives bytes, loads takes bytes."""
    if isinstance(which, str):
        if which not in _BY_NAME:
            raise ValueError(f"no serializer is called {which!r}: json, pickle, msgpack, raw, or a pair of functions")
        return _BY_NAME[which]()
    dumps, loads = which if isinstance(which, tuple) else (which.dumps, which.loads)
    return Serializer(dumps, loads, _CALL)


def encode(which, value):
    """Bytes of an object. SerializerError."""
    try:
        return which.dumps(value)
    except Exception as error:
        raise SerializerError(f"a {type(value).__name__} cannot be stored: {error}") from error
