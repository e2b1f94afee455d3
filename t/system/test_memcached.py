"""The memcached text protocol: real clients, and every exchange beside a real memcached."""

import contextlib
import hashlib
import os
import subprocess
import time

import pymemcache.client.base
import pylibmc
import pytest

from harness import SLOW, wait_until
from memcached import Memcached, exchange, guarded, serving


@pytest.fixture(params=["memory", "layered"])
def daemon(request, tmp_path):
    yield from serving(tmp_path, request.param)


serving_memory = contextlib.contextmanager(lambda tmp_path: serving(tmp_path, "memory"))


EXCHANGES = [
    b"get none\r\n",
    b"set k 5 0 3\r\nabc\r\nget k\r\nget k none k\r\n",
    b"set k 0 0 0\r\n\r\nget k\r\n",
    b"set k 0 0 3 noreply\r\nxyz\r\nget k\r\n",
    b"add k 0 0 1\r\na\r\nadd new 0 0 1\r\nb\r\nget k new\r\n",
    b"replace none 0 0 1\r\na\r\nreplace k 9 0 2\r\nrr\r\nget k\r\n",
    b"append none 0 0 1\r\na\r\nappend k 1 1 2\r\n++\r\nprepend k 2 2 1\r\n-\r\nget k\r\n",
    b"cas none 0 0 1 1\r\na\r\ncas k 0 0 1 1\r\na\r\n",
    b"incr none 1\r\nset n 7 0 1\r\n5\r\nincr n 6\r\nget n\r\ndecr n 2\r\nget n\r\ndecr n 100\r\nget n\r\n",
    b"set n 0 0 20\r\n18446744073709551615\r\nincr n 2\r\nget n\r\n",
    b"set n 0 0 2\r\nab\r\nincr n 1\r\nset n 0 0 0\r\n\r\nincr n 1\r\n",
    b"incr n -1\r\nincr n\r\nincr n x\r\nincr n 18446744073709551616\r\n",
    b"set n 0 0 3\r\n10 \r\ndecr n 1\r\nget n\r\n",
    b"touch none 0\r\ntouch k 100\r\ntouch k\r\ntouch k x\r\n",
    b"gat 100 k none\r\ngat x k\r\n",
    b"delete none\r\ndelete k\r\nget k\r\ndelete k 0\r\ndelete k 1\r\ndelete k noreply\r\n",
    b"set k 0 -1 1\r\na\r\nget k\r\n",
    b"add k 0 2678400 0\r\n\r\nget k\r\n",
    b"set k 0 1 1\r\na\r\nset k 0 2592000 1\r\nb\r\nget k\r\n",
    b"set k 0 0 x\r\nset k 0 0 -1\r\n",
    b"set k 4294967295 0 1\r\na\r\nget k\r\n",
    b"set k 0 0 2\r\nabcd\r\nget other\r\n",
    b"get " + b"k" * 250 + b"\r\n",
    b"get " + b"k" * 251 + b"\r\n",
    b"get\r\nset\r\nGET k\r\n\r\nnosuch\r\n",
    b"flush_all noreply\r\nset a 0 0 1\r\n1\r\nflush_all\r\nget a\r\n",
    b"verbosity 1\r\nverbosity\r\n",
    b"version\r\n",
]


def test_beside_a_real_memcached(daemon, tmp_path):
    """Each exchange is answered alike; a new connection for each, as some end it."""
    real = Memcached(tmp_path)
    try:
        for text in EXCHANGES:
            with daemon.connect() as ours, real.connect() as theirs:
                assert exchange(ours, text) == exchange(theirs, text), text
    finally:
        real.stop()


def test_what_differs_on_purpose(daemon):
    with daemon.connect() as s:
        # A storing command that is refused takes its value with it: no byte of a value is ever a command.
        assert exchange(s, b"set " + b"k" * 251 + b" 0 0 9\r\nflush_all\r\n") == \
            b"CLIENT_ERROR bad command line format\r\n"
        assert exchange(s, b"set k 0 0 1 nosuch\r\na\r\n") == b"CLIENT_ERROR bad command line format\r\n"
        # A value over the limit (an eighth of the cache here, not 1 MiB) is thrown away, the connection goes on.
        s.sendall(b"set k 0 0 5000000\r\n" + b"x" * 5000000 + b"\r\n")
        assert exchange(s, b"get k\r\n") == b"SERVER_ERROR object too large for cache\r\nEND\r\n"
        assert exchange(s, b"stats settings\r\n") == b"END\r\n"


def test_cas(daemon):
    with daemon.connect() as s:
        def unique():
            return exchange(s, b"gets k\r\n").split()[4]

        exchange(s, b"set k 3 0 1\r\na\r\n")
        first = unique()
        assert exchange(s, b"cas k 3 0 1 " + first + b"\r\nb\r\n") == b"STORED\r\n"
        assert exchange(s, b"cas k 3 0 1 " + first + b"\r\nc\r\n") == b"EXISTS\r\n"
        second = unique()
        exchange(s, b"set k 4 0 1\r\nb\r\n")
        assert unique() != second  # other flags, another content
        exchange(s, b"touch k 100\r\n")
        assert exchange(s, b"gats 100 k\r\n").split()[4] == unique()


def test_cas_has_one_winner(daemon):
    """Processes that increment by gets and cas lose no step."""
    script = """
import sys, pymemcache.client.base
client = pymemcache.client.base.Client("unix:" + sys.argv[1])
for _ in range(100):
    while True:
        value, unique = client.gets("n")
        if client.cas("n", str(int(value) + 1), unique):
            break
"""
    pymemcache.client.base.Client(f"unix:{daemon.socket}").set("n", "0")
    processes = [subprocess.Popen(["/usr/bin/python3", "-c", script, str(daemon.socket)]) for _ in range(4)]
    assert [process.wait(60 * SLOW) for process in processes] == [0] * 4
    assert pymemcache.client.base.Client(f"unix:{daemon.socket}").get("n") == b"400"


def test_counters_lose_nothing(daemon):
    """Whoever else counts; with Redis behind another's count comes between reading and storing."""
    script = """
import sys, pymemcache.client.base
client = pymemcache.client.base.Client("unix:" + sys.argv[1])
for _ in range(100):
    client.incr("n", 1)
    client.append("text", "x", noreply=False)
"""
    client = pymemcache.client.base.Client(f"unix:{daemon.socket}")
    client.set("n", "0", noreply=False), client.set("text", "", noreply=False)
    processes = [subprocess.Popen(["/usr/bin/python3", "-c", script, str(daemon.socket)]) for _ in range(4)]
    assert [process.wait(60 * SLOW) for process in processes] == [0] * 4
    assert client.get("n").strip() == b"400" and client.get("text") == b"x" * 400


def test_expiry_and_flush_with_a_delay(daemon):
    with daemon.connect() as s:
        exchange(s, b"set k 0 1 1\r\na\r\nset stay 0 0 1\r\nb\r\n")
        assert b"VALUE k" in exchange(s, b"get k\r\n")
        wait_until(lambda: exchange(s, b"get k\r\n") == b"END\r\n", what="the expiry")
        assert exchange(s, b"set at 0 %d 1\r\nc\r\nget at\r\n" % (time.time() + 100)) == \
            b"STORED\r\nVALUE at 0 1\r\nc\r\nEND\r\n"
        assert exchange(s, b"flush_all 1\r\n") == b"OK\r\n"
        assert b"VALUE stay" in exchange(s, b"get stay\r\n")
        wait_until(lambda: exchange(s, b"get stay at\r\n") == b"END\r\n", what="the flush")
        assert exchange(s, b"set stay 0 0 1\r\nd\r\nget stay\r\n") == b"STORED\r\nVALUE stay 0 1\r\nd\r\nEND\r\n"


def test_tags_stay(tmp_path):
    """What changes a value keeps its tags: purging one takes the changed value too."""
    with serving_memory(tmp_path) as daemon, daemon.connect() as s:
        redis = daemon.client()
        for command in (b"append k 0 0 1\r\n1", b"prepend k 0 0 1\r\n1", b"incr k 1", b"md k I", b"touch k 100"):
            redis.execute_command("SET", "k", "5", "TAGS", 2, "a", "b")
            exchange(s, command + b"\r\n")
            assert b"VALUE k" in exchange(s, b"get k\r\n"), command
            redis.execute_command("CACHETASTIC.PURGE", "TAG", "b")
            assert exchange(s, b"get k\r\n") == b"END\r\n", command
        redis.execute_command("SET", "k", "5", "TAGS", 1, "a")
        assert redis.append("k", "0") == 2 and redis.incr("k") == 51
        redis.execute_command("CACHETASTIC.PURGE", "TAG", "a")
        assert redis.get("k") is None


def test_delayed_flush_outlives_its_worker(tmp_path):
    with serving_memory(tmp_path) as daemon:
        with daemon.connect() as s:
            exchange(s, b"set k 0 0 1\r\na\r\nflush_all 2\r\n")
        for pid in daemon.worker_pids():
            os.kill(pid, 9)
        wait_until(daemon.serves, 15, what="new workers")
        with daemon.connect() as s:
            assert b"VALUE k" in exchange(s, b"get k\r\n")
            wait_until(lambda: exchange(s, b"get k\r\n") == b"END\r\n", what="the flush")


def test_pymemcache(daemon):
    client = pymemcache.client.base.Client(f"unix:{daemon.socket}", default_noreply=False)
    assert client.set("k", b"v") and client.get("k") == b"v"
    assert client.set_many({"a": b"1", "b": b"2"}) == [] and client.get_many(["a", "b", "c"]) == {"a": b"1", "b": b"2"}
    assert client.add("k", b"x") is False and client.replace("k", b"y") and client.append("k", b"z")
    assert client.prepend("k", b"w") and client.get("k") == b"wyz"
    assert client.set("n", b"9") and client.incr("n", 2) == 11 and client.decr("n", 20) == 0
    value, unique = client.gets("a")
    assert client.cas("a", b"3", unique) and client.cas("a", b"4", unique) is False
    assert client.touch("a", 100) and client.get("a") == b"3"
    assert client.delete("a") and client.delete("a") is False
    assert client.version().startswith(b"1.6") and client.stats()[b"curr_items"] > 0
    assert client.flush_all() and client.get("k") is None
    big = os.urandom(2 << 20)
    assert client.set("big", big) and client.get("big") == big


@pytest.mark.parametrize("binary", [False, True])
def test_pylibmc(daemon, binary):
    client = pylibmc.Client([str(daemon.socket)], binary=binary, behaviors={"cas": True})
    assert client.set("k", {"an": "object"}) and client.get("k") == {"an": "object"}
    assert client.set_multi({"a": 1, "b": "two"}) == [] and client.get_multi(["a", "b", "c"]) == {"a": 1, "b": "two"}
    assert client.incr("a", 4) == 5 and client.get("a") == 5
    value, unique = client.gets("b")
    assert client.cas("b", "three", unique) and not client.cas("b", "four", unique)
    assert client.add("b", 1) is False and client.delete("b") and not client.delete("b")
    assert client.touch("a", 100) and client.flush_all() and client.get("k") is None


PHP = r"""
$m = new Memcached();
$m->setOption(Memcached::OPT_BINARY_PROTOCOL, false);
$m->addServer($argv[1], 0);
function check($what, $is) { if (!$is) { echo "$what: ", $GLOBALS['m']->getResultMessage(), "\n"; exit(1); } }
check('set', $m->set('k', ['a' => 1, 'b' => [true, null]], 60));
check('get', $m->get('k') === ['a' => 1, 'b' => [true, null]]);
check('setMulti', $m->setMulti(['x' => 1, 'y' => 'zwei', 'z' => 3.5]));
check('getMulti', $m->getMulti(['x', 'y', 'z', 'none']) === ['x' => 1, 'y' => 'zwei', 'z' => 3.5]);
check('increment', $m->increment('x', 5) === 6 && $m->get('x') === 6);
check('decrement', $m->decrement('x', 50) === 0);
check('add', !$m->add('y', 1) && $m->getResultCode() === Memcached::RES_NOTSTORED);
check('append', $m->setOption(Memcached::OPT_COMPRESSION, false) && $m->append('y', '!') && $m->get('y') === 'zwei!');
$got = $m->get('y', null, Memcached::GET_EXTENDED);
check('cas', $m->cas($got['cas'], 'y', 'drei') && !$m->cas($got['cas'], 'y', 'vier'));
check('touch', $m->touch('y', 100));
check('delete', $m->delete('y') && $m->get('y') === false && $m->getResultCode() === Memcached::RES_NOTFOUND);
check('deleteMulti', $m->deleteMulti(['x', 'z']) === ['x' => true, 'z' => true]);
check('flush', $m->flush() && $m->get('k') === false);
check('version', array_values($m->getVersion())[0] !== '255.255.255');
$big = random_bytes(2000000);
check('big', $m->set('big', $big) && $m->get('big') === $big);
echo "ok\n";
"""


def test_php_memcached(daemon):
    result = subprocess.run(["php", "-r", PHP, "--", str(daemon.socket)], capture_output=True, text=True)
    assert result.stdout == "ok\n", result


USERS = """
users = ( {{ name = "ada"; password_sha256 = "%s"; rights = [ "*:read", "*:write" ]; }} );
""" % hashlib.sha256(b"secret").hexdigest()


@pytest.fixture
def locked(tmp_path):
    yield from guarded(tmp_path, USERS)


def test_users(locked):
    with locked.connect() as s:
        assert exchange(s, b"get k\r\n") == b"CLIENT_ERROR unauthenticated\r\n"
        assert exchange(s, b"mg k\r\n") == b"CLIENT_ERROR unauthenticated\r\n"
        assert exchange(s, b"set auth 0 0 9\r\nada wrong\r\n") == b"CLIENT_ERROR authentication failure\r\n"
        assert exchange(s, b"set auth 0 0 10\r\nada secret\r\n") == b"STORED\r\n"
        assert exchange(s, b"set k 0 0 1\r\na\r\nget k\r\n") == b"STORED\r\nVALUE k 0 1\r\na\r\nEND\r\n"
        assert b"users.rights" in exchange(s, b"flush_all\r\n")
