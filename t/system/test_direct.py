"""libcachetastic: reads from the mapped memory, and everything else through the socket."""

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import redis

from harness import ROOT, SLOW, TREE, Daemon, RedisServer, end, wait_until

OK, MISS = 0, 1
E_DOWN, E_LOST = -3, -5

CONFIG = """
listen = ( {{ address = "unix:{socket}"; mode = "0666"; }} );
caches = ( {{ name = "default"; memory = "32M"; direct = true; direct_trust = true; }},
           {{ name = "strict"; memory = "8M"; direct = true; }},
           {{ name = "listed"; memory = "8M"; direct = true; direct_users = [ "54321" ]; }},
           {{ name = "closed"; memory = "8M"; }} );
workers = 2;
"""


class Bytes(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("len", ctypes.c_size_t)]

    @classmethod
    def of(cls, text):
        return cls(ctypes.cast(ctypes.c_char_p(text), ctypes.c_void_p), len(text))

    def text(self):
        return None if self.data is None else ctypes.string_at(self.data, self.len)


class Options(ctypes.Structure):
    _fields_ = [("socket", ctypes.c_char_p), ("cache", ctypes.c_char_p), ("user", ctypes.c_char_p),
                ("password", ctypes.c_char_p), ("timeout_ms", ctypes.c_uint), ("no_direct", ctypes.c_bool)]


class Put(ctypes.Structure):
    _fields_ = [("ttl_ms", ctypes.c_uint64), ("stale_ms", ctypes.c_uint64), ("tags", ctypes.POINTER(Bytes)),
                ("n_tags", ctypes.c_size_t), ("if_absent", ctypes.c_bool), ("if_present", ctypes.c_bool)]


class Counts(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64)
                for name in ("direct_hits", "direct_misses", "calls", "connects", "refused_maps")]


# A library built with a sanitizer needs its runtime in the process, and Python has none: then the
# ordinary build's library speaks to the sanitized daemon.
LIBRARIES = [root / "lib" / "libcachetastic.so" for root in (ROOT, TREE / "build" / "root")]


def load():
    for path in LIBRARIES:
        try:
            return ctypes.CDLL(str(path))
        except OSError as error:
            if "san" not in str(error) and path.exists():
                raise
    return None


if load() is None:
    pytest.skip("the library is built with a sanitizer only", allow_module_level=True)


def library():
    lib = load()
    lib.cachetastic_error.restype = ctypes.c_char_p
    lib.cachetastic_direct.restype = ctypes.c_char_p
    return lib


class Handle:
    """The C library, as a Python object: each call gives (status, result)."""

    def __init__(self, path, cache=None, **options):
        self.lib = library()
        self.pointer = ctypes.c_void_p()
        how = Options(socket=str(path).encode(), cache=cache.encode() if cache else None, **options)
        assert self.lib.cachetastic_open(ctypes.byref(how), ctypes.byref(self.pointer)) == OK

    def close(self):
        self.lib.cachetastic_close(self.pointer)

    def error(self):
        return self.lib.cachetastic_error(self.pointer).decode()

    def direct(self):
        why = self.lib.cachetastic_direct(self.pointer)
        return None if why is None else why.decode()

    def get(self, key):
        value = Bytes()
        status = self.lib.cachetastic_get(self.pointer, key, ctypes.c_size_t(len(key)), ctypes.byref(value))
        return status, value.text() if status == OK else None

    def put(self, key, value, **how):
        put = Put(**how)
        return self.lib.cachetastic_put(self.pointer, key, ctypes.c_size_t(len(key)), value,
                                        ctypes.c_size_t(len(value)), ctypes.byref(put))

    def delete(self, key):
        return self.lib.cachetastic_delete(self.pointer, key, ctypes.c_size_t(len(key)))

    def has(self, key):
        return self.lib.cachetastic_has(self.pointer, key, ctypes.c_size_t(len(key)))

    def clear(self):
        return self.lib.cachetastic_clear(self.pointer)

    def delete_pattern(self, pattern):
        return self.lib.cachetastic_delete_pattern(self.pointer, pattern, ctypes.c_size_t(len(pattern)))

    def increment(self, key, by):
        result = ctypes.c_int64()
        status = self.lib.cachetastic_increment(self.pointer, key, ctypes.c_size_t(len(key)), ctypes.c_int64(by),
                                                ctypes.byref(result))
        return status, result.value

    def ttl(self, key):
        result = ctypes.c_uint64()
        status = self.lib.cachetastic_ttl(self.pointer, key, ctypes.c_size_t(len(key)), ctypes.byref(result))
        return status, result.value

    def get_many(self, keys):
        wanted = (Bytes * len(keys))(*[Bytes.of(key) for key in keys])
        values = (Bytes * len(keys))()
        status = self.lib.cachetastic_get_many(self.pointer, wanted, ctypes.c_size_t(len(keys)), values)
        return status, [value.text() for value in values]

    def put_many(self, pairs, **how):
        keys = (Bytes * len(pairs))(*[Bytes.of(key) for key in pairs])
        values = (Bytes * len(pairs))(*[Bytes.of(value) for value in pairs.values()])
        put = Put(**how)
        return self.lib.cachetastic_put_many(self.pointer, keys, values, ctypes.c_size_t(len(pairs)),
                                             ctypes.byref(put))

    def delete_many(self, keys):
        wanted = (Bytes * len(keys))(*[Bytes.of(key) for key in keys])
        removed = ctypes.c_uint64()
        status = self.lib.cachetastic_delete_many(self.pointer, wanted, ctypes.c_size_t(len(keys)),
                                                  ctypes.byref(removed))
        return status, removed.value

    def counts(self):
        counts = Counts()
        self.lib.cachetastic_counts(self.pointer, ctypes.byref(counts))
        return counts


@pytest.fixture
def daemon(tmp_path):
    tmp_path.chmod(0o755)
    daemon = Daemon(tmp_path / "d", config=CONFIG)
    yield daemon
    daemon.stop()


@pytest.fixture(params=["direct", "socket"])
def handle(request, daemon):
    handle = Handle(daemon.socket, timeout_ms=int(5000 * SLOW), no_direct=request.param == "socket")
    yield handle
    handle.close()


def test_the_operations(handle):
    assert handle.get(b"k") == (MISS, None)
    assert handle.put(b"k", b"value") == OK
    assert handle.get(b"k") == (OK, b"value")
    assert handle.has(b"k") == OK and handle.has(b"other") == MISS
    assert handle.put(b"k", b"x", if_absent=True) == MISS
    assert handle.put(b"new", b"x", if_present=True) == MISS
    assert handle.put(b"empty", b"") == OK and handle.get(b"empty") == (OK, b"")
    assert handle.delete(b"k") == OK and handle.delete(b"k") == MISS
    assert handle.get(b"k") == (MISS, None)
    assert handle.increment(b"n", 5) == (OK, 5) and handle.increment(b"n", -7) == (OK, -2)
    assert handle.get(b"n") == (OK, b"-2")


def test_many_at_once(handle):
    pairs = {b"key:%d" % i: b"value %d" % i * (i % 7) for i in range(3000)}
    assert handle.put_many(pairs) == OK
    keys = list(pairs) + [b"none:1"]
    assert handle.get_many(keys) == (OK, [pairs.get(key) for key in keys])
    assert handle.delete_many([b"key:0", b"key:1", b"none:2"]) == (OK, 2)
    assert handle.get_many([b"key:0", b"key:2"]) == (OK, [None, pairs[b"key:2"]])
    assert handle.delete_pattern(b"key:1*") == OK
    assert handle.get_many([b"key:10", b"key:20"]) == (OK, [None, pairs[b"key:20"]])
    assert handle.clear() == OK
    assert handle.get_many([b"key:20"]) == (OK, [None])


def test_times(handle):
    assert handle.put(b"k", b"v", ttl_ms=300) == OK
    began = time.monotonic()
    status, left = handle.ttl(b"k")
    assert status == OK and 0 < left <= 300
    while handle.get(b"k")[0] == OK:
        assert time.monotonic() - began < 5 * SLOW
    assert time.monotonic() - began >= 0.29
    assert handle.put(b"k", b"v") == OK and handle.ttl(b"k") == (OK, 0)
    assert handle.ttl(b"none") == (MISS, 0)


def test_large_values(handle):
    value = os.urandom(1 << 20) * 3
    assert handle.put(b"k", value) == OK
    assert handle.get(b"k") == (OK, value)


def test_errors_name_the_limit(handle):
    assert handle.get(b"")[0] < 0 and "1 to 65535" in handle.error()
    assert handle.put(b"k" * 2000, b"v") < 0 and "limits.key" in handle.error()
    assert handle.put(b"k", b"v") == OK


def test_hits_take_no_call(daemon):
    handle = Handle(daemon.socket)
    assert handle.direct() is None
    handle.put(b"k", b"v")
    calls = handle.counts().calls
    for _ in range(1000):
        assert handle.get(b"k") == (OK, b"v")
        assert handle.get(b"other") == (MISS, None)
    counts = handle.counts()
    assert counts.calls == calls and counts.direct_hits == 1000 and counts.direct_misses == 1000
    # What it read is known to the daemon, in its figures.
    wait_until(lambda: daemon.stats()["caches"]["default"]["direct_hits"] == 1000, what="the hits in the figures")
    handle.close()


def test_who_may_map(daemon):
    """The daemon's own user could open the memory for writing; others only where they are listed."""
    for cache, why in (("closed", "caches.direct"), ("strict", "direct_trust"), ("listed", "direct_trust")):
        handle = Handle(daemon.socket, cache)
        assert why in handle.direct()
        assert handle.counts().refused_maps == 1
        assert handle.put(b"k", b"v") == OK and handle.get(b"k") == (OK, b"v")
        handle.close()


AS_USER = """
import sys
sys.path.insert(0, sys.argv[1])
from test_direct import Handle
handle = Handle(sys.argv[2], sys.argv[3])
handle.put(b"k", b"v")
print(handle.direct(), handle.get(b"k"))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_other_users(daemon):
    # The tree may lie in root's home, where other users read nothing.
    scripts, lib = daemon.directory / "copy" / "t" / "system", daemon.directory / "copy" / "root" / "lib"
    for directory in (scripts, lib):
        directory.mkdir(parents=True)
    for script in Path(__file__).parent.glob("*.py"):
        shutil.copy(script, scripts)
    shutil.copy(load()._name, lib / "libcachetastic.so")

    def as_user(uid, cache):
        return subprocess.run(["/usr/bin/python3", "-B", "-c", AS_USER, str(scripts), str(daemon.socket), cache], user=uid,
                              stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "CACHETASTIC_ROOT": str(lib.parent)}).stdout

    for directory in daemon.socket.parents:
        if str(directory).startswith("/tmp/"):
            directory.chmod(0o755)
    assert as_user(54321, "strict") == "None (0, b'v')\n"
    assert as_user(54321, "listed") == "None (0, b'v')\n"
    assert "direct_users" in as_user(54322, "listed")
    assert "direct_trust" in as_user(65534, "strict")


def test_numbered_keyspaces_stay_apart(daemon):
    """They share the cache's memory, under keys that begin with a zero byte."""
    handle, client = Handle(daemon.socket), daemon.client(db=3)
    client.set("k", "of number 3")
    assert handle.get(b"k") == (MISS, None) and handle.get(b"\0\3k") == (MISS, None)
    assert handle.get_many([b"\0\3k", b"k"]) == (OK, [None, None])
    assert handle.put(b"\0\3k", b"mine") == OK and handle.get(b"\0\3k") == (OK, b"mine")
    assert client.get("k") == b"of number 3"
    with pytest.raises(redis.exceptions.ResponseError, match="NODIRECT"):
        client.execute_command("CACHETASTIC.ATTACH")
    handle.close()


def test_a_restart_is_followed(daemon):
    handle = Handle(daemon.socket, timeout_ms=int(5000 * SLOW))
    other = Handle(daemon.socket, timeout_ms=int(5000 * SLOW))
    handle.put(b"k", b"v")
    assert handle.get(b"k") == (OK, b"v") and other.get(b"k") == (OK, b"v")
    daemon.stop()
    time.sleep(1.1)
    status, _ = handle.get(b"k")
    assert status in (E_DOWN, E_LOST), handle.error()
    assert handle.get(b"k")[0] == E_DOWN
    daemon.start()
    assert handle.get(b"k") == (MISS, None)
    assert other.get(b"k") == (MISS, None)
    assert handle.put(b"k", b"new") == OK
    assert other.get(b"k") == (OK, b"new") and other.direct() is None
    handle.close()
    other.close()


def test_a_killed_master_is_noticed_within_a_second(daemon):
    handle = Handle(daemon.socket, timeout_ms=int(2000 * SLOW))
    handle.put(b"k", b"v")
    assert handle.get(b"k") == (OK, b"v")
    end(daemon.process, signal.SIGKILL)
    killed = time.monotonic()
    while handle.get(b"k")[0] == OK:
        assert time.monotonic() - killed < 1.5 * SLOW
        time.sleep(0.01)
    assert handle.get(b"k")[0] == E_DOWN, handle.error()
    daemon.start()
    assert handle.get(b"k") == (MISS, None)
    handle.close()


def test_a_fork_in_the_middle(daemon):
    handle = Handle(daemon.socket)
    handle.put(b"k", b"v")
    assert handle.get(b"k") == (OK, b"v")
    child = os.fork()
    if child == 0:
        # A connection of its own: what parent and child send must not mix.
        ok = all(handle.get(b"k") == (OK, b"v") and handle.increment(b"n", 1)[0] == OK for _ in range(200))
        ok = ok and handle.counts().connects == 2
        os._exit(0 if ok else 1)
    for _ in range(200):
        assert handle.get(b"k") == (OK, b"v")
        assert handle.increment(b"n", 1)[0] == OK
    assert os.waitpid(child, 0)[1] == 0
    assert handle.get(b"n") == (OK, b"400") and handle.counts().connects == 1
    handle.close()


def test_redis_behind(tmp_path):
    """What the memory does not have may be in Redis; what it has is read directly."""
    server = RedisServer(tmp_path / "redis")
    daemon = Daemon(tmp_path / "d", config=CONFIG.replace("workers", 'redis = {{ server = "%s"; }}; workers' %
                                                          server.address))
    try:
        handle = Handle(daemon.socket)
        assert handle.direct() is None
        server.client().set("cachetastic:far", "away")
        assert handle.get(b"far") == (OK, b"away") and handle.counts().direct_hits == 0
        # What came before the subscription was confirmed is asked about once more.
        wait_until(lambda: handle.get(b"far") == (OK, b"away") and handle.counts().direct_hits == 1,
                   what="a read from the memory")
        assert handle.get(b"none") == (MISS, None) and handle.counts().direct_misses == 0
        handle.close()
    finally:
        daemon.stop()
        server.stop()


@contextlib.contextmanager
def attached(daemon):
    s = daemon.connect()
    s.sendall(b"CACHETASTIC.ATTACH\r\n".join([b"*1\r\n$18\r\n", b""]))
    data, fds, _, _ = socket.recv_fds(s, 4096, 4)
    try:
        yield s, data, fds
    finally:
        for fd in fds:
            os.close(fd)
        s.close()


def test_garbage_in_the_access_ring(daemon):
    client = daemon.client()
    for i in range(100):
        client.set(f"k{i}", f"v{i}")
    with attached(daemon) as (_, data, fds):
        assert data == b"*2\r\n$7\r\ndefault\r\n:1\r\n" and len(fds) == 2
        for _ in range(20):
            os.pwrite(fds[1], os.urandom(8192), 0)
            time.sleep(0.02)
        with pytest.raises(OSError):
            os.pwrite(fds[0], b"x", 0)
    assert all(client.get(f"k{i}") == b"v%d" % i for i in range(100))
    daemon.check()


WRITE_TRICKS = r"""
import ctypes, fcntl, mmap, os, socket, sys
PROT_READ, PROT_WRITE, MAP_SHARED, MAP_PRIVATE, MREMAP_MAYMOVE = 1, 2, 1, 2, 1
F_ADD_SEALS, F_SEAL_WRITE, FALLOC_PUNCH, FALLOC_KEEP = 1033, 8, 2, 1
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = libc.mremap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
libc.open_by_handle_at.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
FAILED = ctypes.c_void_p(-1).value

s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b"*2\r\n$15\r\nCACHETASTIC.USE\r\n$6\r\nstrict\r\n")
assert s.recv(100) == b"+OK\r\n"
s.sendall(b"*1\r\n$18\r\nCACHETASTIC.ATTACH\r\n")
_, fds, _, _ = socket.recv_fds(s, 4096, 4)
zone = fds[0]
size = os.fstat(zone).st_size
shared = libc.mmap(None, size, PROT_READ, MAP_SHARED, zone, 0)
assert shared != FAILED
before = ctypes.string_at(shared, 4096)
allowed = []

def refused(what, call):
    try:
        result = call()
    except OSError:
        return
    # C functions say it with their result.
    if result not in (-1, FAILED):
        allowed.append(what)

refused("mprotect", lambda: libc.mprotect(shared, size, PROT_READ | PROT_WRITE))
refused("mprotect of one page", lambda: libc.mprotect(shared, 4096, PROT_WRITE))
refused("mmap for writing", lambda: libc.mmap(None, size, PROT_READ | PROT_WRITE, MAP_SHARED, zone, 0))
refused("mmap for writing alone", lambda: libc.mmap(None, size, PROT_WRITE, MAP_SHARED, zone, 0))
refused("pwrite", lambda: os.pwrite(zone, b"x", 0))
refused("ftruncate", lambda: os.ftruncate(zone, 0))
refused("ftruncate to more", lambda: os.ftruncate(zone, size * 2))
refused("fallocate", lambda: libc.fallocate(zone, 0, 0, size))
refused("punching a hole", lambda: libc.fallocate(zone, FALLOC_PUNCH | FALLOC_KEEP, 0, size))
refused("a seal", lambda: fcntl.fcntl(zone, F_ADD_SEALS, F_SEAL_WRITE))
refused("O_RDWR by F_SETFL", lambda: fcntl.fcntl(zone, fcntl.F_SETFL, os.O_RDWR) or os.pwrite(zone, b"x", 0))
refused("fchmod", lambda: os.fchmod(zone, 0o666))
refused("fchown", lambda: os.fchown(zone, os.getuid(), -1))
for flags in (os.O_RDWR, os.O_WRONLY, os.O_RDWR | os.O_TRUNC, os.O_RDONLY | os.O_TRUNC):
    refused(f"/proc/self/fd with flags {flags}", lambda: os.open(f"/proc/self/fd/{zone}", flags))
    refused(f"/proc/thread-self/fd with flags {flags}", lambda: os.open(f"/proc/thread-self/fd/{zone}", flags))
refused("chmod through /proc", lambda: os.chmod(f"/proc/self/fd/{zone}", 0o666))
refused("truncate through /proc", lambda: os.truncate(f"/proc/self/fd/{zone}", 0))
refused("sendfile into it", lambda: os.sendfile(zone, os.open(__import__("sys").executable, os.O_RDONLY), 0, 10))
for line in open("/proc/self/maps"):
    if int(line.split("-")[0], 16) == shared:
        name = line.split()[0]
        refused("/proc/self/map_files", lambda: os.open(f"/proc/self/map_files/{name}", os.O_RDWR))

def through_mem():
    with open("/proc/self/mem", "r+b", 0) as mem:
        mem.seek(shared)
        return mem.write(b"x" * 16)

def another_process():
    # What a debugger may: the kernel breaks a copy off for private mappings only.
    local = ctypes.create_string_buffer(b"x" * 16)
    class Vec(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]
    from_, to = Vec(ctypes.addressof(local), 16), Vec(shared, 16)
    return libc.process_vm_writev(os.getpid(), ctypes.byref(from_), 1, ctypes.byref(to), 1, 0)

refused("/proc/self/mem", through_mem)
refused("process_vm_writev", another_process)
daemon = int(sys.argv[2])
for flags in (os.O_RDONLY, os.O_RDWR):
    refused(f"/proc/PID/mem of the daemon, flags {flags}", lambda: os.open(f"/proc/{daemon}/mem", flags))
refused("the daemon's descriptors", lambda: os.listdir(f"/proc/{daemon}/fd"))
# A private mapping is one's own copy: allowed, and nobody else sees it.
private = libc.mmap(None, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, zone, 0)
if private != FAILED:
    ctypes.memset(private, 0xff, 4096)
    assert ctypes.string_at(shared, 64)[:8] == before[:8]
print("allowed:", allowed)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_no_way_to_write_the_memory(daemon):
    """What another user who may read the cache can try without ptrace: all of it is refused, and nothing has changed."""
    for directory in daemon.socket.parents:
        if str(directory).startswith("/tmp/"):
            directory.chmod(0o755)
    client = daemon.cache("strict")
    for i in range(100):
        client.set(f"k{i}", f"v{i}")
    done = subprocess.run(["/usr/bin/python3", "-B", "-c", WRITE_TRICKS, str(daemon.socket), str(daemon.process.pid)],
                          user=54321, group=54321, extra_groups=[], capture_output=True, text=True)
    assert done.stdout == "allowed: []\n", done.stdout + done.stderr
    assert all(client.get(f"k{i}") == b"v%d" % i for i in range(100))
    daemon.check("strict")


def test_attach_stands_alone(daemon):
    """Descriptors travel with the first byte of the reply: nothing may be on its way before it."""
    s = daemon.connect()
    s.sendall(b"*1\r\n$4\r\nPING\r\n*1\r\n$18\r\nCACHETASTIC.ATTACH\r\n")
    reply = b""
    while reply.count(b"\r\n") < 2:
        reply += s.recv(4096)
    assert reply.startswith(b"+PONG\r\n-NODIRECT") and b"alone" in reply
    s.close()


READER = r"""
import sys, zlib
sys.path.insert(0, sys.argv[1])
from test_direct import Handle, OK, MISS
handle = Handle(sys.argv[2], timeout_ms=5000)
bad = reads = hits = 0
seed = int(sys.argv[3])
while reads < int(sys.argv[4]):
    seed = (seed * 1103515245 + 12345) & 0x7fffffff
    key = b"k%d" % (seed >> 8 & 255)
    status, value = handle.get(key)
    reads += 1
    if status == OK:
        hits += 1
        bad += zlib.crc32(key + value[4:]).to_bytes(4, "big") != value[:4]
    elif status != MISS:
        # The daemon is being restarted.
        pass
print(reads, hits, bad, handle.counts().direct_hits)
"""


def write_checksummed(daemon, stop):
    """Values whose first four bytes are a checksum of the key and the rest."""
    import random
    import zlib
    random.seed(7)
    n = 0
    while not stop():
        with contextlib.suppress(Exception):
            client = daemon.client(socket_timeout=2)
            for _ in range(200):
                key = b"k%d" % random.randrange(256)
                body = random.randbytes(random.choice((10, 100, 1000, 60000)))
                client.set(key, zlib.crc32(key + body).to_bytes(4, "big") + body)
                n += 1
            client.flushdb()
    return n


def test_readers_under_killed_writers_and_restarts(daemon):
    """A short form of the soak: readers see whole values whatever happens to the daemon."""
    readers = [subprocess.Popen(["/usr/bin/python3", "-B", "-c", READER, os.path.dirname(__file__),
                                 str(daemon.socket), str(seed), "60000"], stdout=subprocess.PIPE, text=True)
               for seed in (1, 2)]
    began = time.monotonic()
    kills = 0

    def done():
        return all(reader.poll() is not None for reader in readers)

    while not done():
        assert time.monotonic() - began < 120 * SLOW
        write_checksummed(daemon, lambda count=iter(range(3)): next(count, None) is None or done())
        if kills < 4:
            os.kill(daemon.worker_pids()[kills % 2], signal.SIGKILL)
            kills += 1
            wait_until(daemon.serves, 20, "every worker serving")
        elif kills == 4:
            end(daemon.process, signal.SIGKILL)
            daemon.start()
            kills += 1
    for reader in readers:
        reads, hits, bad, direct = map(int, reader.communicate()[0].split())
        assert bad == 0 and reads == 60000 and hits > 0 and direct > 0
    daemon.check()


class Fetch(ctypes.Structure):
    _fields_ = [("wait_ms", ctypes.c_uint64), ("lease_ms", ctypes.c_uint64), ("stale_ms", ctypes.c_uint64),
                ("beta", ctypes.c_double), ("no_wait", ctypes.c_bool), ("or_compute", ctypes.c_bool),
                ("retry_ms", ctypes.c_uint64)]


class Fetched(ctypes.Structure):
    _fields_ = [("value", Bytes), ("stale", ctypes.c_bool), ("token", ctypes.c_uint64),
                ("retry_ms", ctypes.c_uint64)]


class Computed(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("len", ctypes.c_size_t), ("release", ctypes.c_void_p), ("how", Put)]


COMPUTE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(Computed))
BUSY, E_COMPUTE = 2, -9


def fetch(handle, key, compute, ttl_ms=0, **how):
    """compute: gives the bytes, or None for a failure."""
    def call(_, out):
        made = compute()
        if made is None:
            return 1
        call.kept = ctypes.create_string_buffer(made, len(made))
        out[0].data = ctypes.cast(call.kept, ctypes.c_void_p)
        out[0].len = len(made)
        out[0].how.ttl_ms = ttl_ms
        return 0

    value = Bytes()
    status = handle.lib.cachetastic_fetch(handle.pointer, key, ctypes.c_size_t(len(key)),
                                          ctypes.byref(Fetch(**how)), COMPUTE(call), None, ctypes.byref(value))
    return status, value.text() if status == OK else None


def never():
    raise AssertionError("computed though it is there")


def test_fetch(handle):
    assert fetch(handle, b"k", lambda: b"made", ttl_ms=60000) == (OK, b"made")
    assert fetch(handle, b"k", never) == (OK, b"made")
    assert handle.get(b"k") == (OK, b"made") and 0 < handle.ttl(b"k")[1] <= 60000
    assert fetch(handle, b"empty", lambda: b"") == (OK, b"") and handle.get(b"empty") == (OK, b"")
    # A failure: nothing is stored, and who asks next may try.
    assert fetch(handle, b"bad", lambda: None)[0] == E_COMPUTE
    assert handle.get(b"bad") == (MISS, None)
    assert fetch(handle, b"bad", lambda: b"now") == (OK, b"now")
    # A failure that asks for time: the next one is told.
    assert fetch(handle, b"slow", lambda: None, retry_ms=60000)[0] == E_COMPUTE
    assert fetch(handle, b"slow", never, no_wait=True)[0] == BUSY
    assert fetch(handle, b"slow", lambda: b"own", no_wait=True, or_compute=True) == (OK, b"own")
    assert handle.get(b"slow") == (MISS, None)


def test_the_callback_may_use_the_handle(handle):
    handle.put(b"part", b"1" * 5000)
    assert fetch(handle, b"whole", lambda: b"<" + handle.get(b"part")[1] + b">") == (OK, b"<" + b"1" * 5000 + b">")


def test_a_fill_after_a_delete_is_refused(handle):
    def compute():
        assert handle.delete(b"k") in (OK, MISS)
        return b"old"

    assert fetch(handle, b"k", compute) == (OK, b"old")
    assert handle.get(b"k") == (MISS, None)


def test_a_stale_value_goes_on_when_computing_fails(handle):
    got, stale_ms = Fetched(), ctypes.c_uint64(60000)
    begin, key = handle.lib.cachetastic_fetch_begin, b"k"
    assert begin(handle.pointer, key, ctypes.c_size_t(1), None, ctypes.byref(got)) == MISS and got.token != 0
    assert handle.lib.cachetastic_fill(handle.pointer, key, ctypes.c_size_t(1), ctypes.c_uint64(got.token), b"v1",
                                       ctypes.c_size_t(2), ctypes.byref(Put(ttl_ms=50, stale_ms=60000))) == OK
    wait_until(lambda: handle.get(key)[0] == MISS, what="the expiry")
    assert fetch(handle, key, lambda: None, stale_ms=60000) == (OK, b"v1")
    assert fetch(handle, key, lambda: b"v2", stale_ms=60000, ttl_ms=60000) == (OK, b"v2")
    assert handle.get(key) == (OK, b"v2")


def test_a_hot_key_is_refreshed_before_it_expires(daemon):
    """Direct hits throw the dice of early refresh too."""
    handle = Handle(daemon.socket, timeout_ms=int(5000 * SLOW))

    def compute():
        time.sleep(0.05)
        return b"%d" % len(computed)

    computed = []
    assert fetch(handle, b"k", lambda: computed.append(1) or compute(), ttl_ms=1500) == (OK, b"1")
    began = time.monotonic()
    while len(computed) < 2 and time.monotonic() - began < 1.45:
        status, _ = fetch(handle, b"k", lambda: computed.append(1) or compute(), ttl_ms=60000)
        assert status == OK
    assert len(computed) == 2, "not refreshed before its expiry"
    assert handle.counts().direct_hits > 10
    handle.close()


ONE_OF_MANY = r"""
import os, sys, time
sys.path.insert(0, sys.argv[1])
from test_direct import Handle, fetch
handle = Handle(sys.argv[2], timeout_ms=20000)
def compute():
    os.write(1, b"computed\n")
    if sys.argv[3] == "die":
        os.kill(os.getpid(), 9)
    time.sleep(0.2)
    return b"made"
print(fetch(handle, b"k", compute, wait_ms=20000), flush=True)
"""


def test_many_processes_compute_once(daemon):
    """One is killed while it holds the lease; of the others exactly one computes, and all get the value."""
    def start(how):
        return subprocess.Popen(["/usr/bin/python3", "-B", "-c", ONE_OF_MANY, os.path.dirname(__file__),
                                 str(daemon.socket), how], stdout=subprocess.PIPE)

    first = start("die")
    assert first.stdout.readline() == b"computed\n"
    others = [start("live") for _ in range(20)]
    first.wait()
    outputs = [process.communicate(timeout=60 * SLOW)[0] for process in others]
    assert sum(output.count(b"computed") for output in outputs) == 1
    assert all(output.endswith(b"(0, b'made')\n") for output in outputs), outputs


def test_serializers(handle):
    lib = handle.lib
    raw = ctypes.c_char.in_dll(lib, "cachetastic_raw")
    json = ctypes.c_char.in_dll(lib, "cachetastic_json")
    out = ctypes.c_void_p()

    def put(key, thing, serializer):
        return lib.cachetastic_put_object(handle.pointer, key, ctypes.c_size_t(len(key)), thing,
                                          ctypes.byref(serializer), None)

    def get(key, serializer):
        return lib.cachetastic_get_object(handle.pointer, key, ctypes.c_size_t(len(key)), ctypes.byref(serializer),
                                          ctypes.byref(out))

    assert put(b"r", ctypes.byref(Bytes.of(b"\0bytes")), raw) == OK
    assert get(b"r", raw) == OK
    assert ctypes.cast(out, ctypes.POINTER(Bytes))[0].text() == b"\0bytes"
    libc = ctypes.CDLL(None)
    libc.free.argtypes = [ctypes.c_void_p]
    libc.free(out)
    handle.put(b"j", b'{"a":[1,2,{"b":null}]}')
    assert get(b"j", json) == OK
    assert put(b"copy", out, json) == OK and handle.get(b"copy") == (OK, b'{"a":[1,2,{"b":null}]}')
    assert get(b"r", json) == -1 and "json" in handle.error()
