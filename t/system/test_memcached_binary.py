"""The binary protocol of memcached: frames beside a real memcached, clients that speak it, SASL."""

import hashlib
import struct
import subprocess

import pytest

from harness import SLOW, wait_until
from memcached import Memcached, guarded, serving

GET, SET, ADD, REPLACE, DELETE, INCR, DECR, QUIT, FLUSH = range(9)
GETQ, NOOP, VERSION, GETK, GETKQ, APPEND, PREPEND, STAT, SETQ, ADDQ, REPLACEQ, DELETEQ, INCRQ, DECRQ, QUITQ, FLUSHQ, \
    APPENDQ, PREPENDQ, VERBOSITY, TOUCH, GAT, GATQ = range(9, 31)
SASL_LIST, SASL_AUTH, SASL_STEP, GATK, GATKQ = range(0x20, 0x25)


@pytest.fixture(params=["memory", "layered"])
def daemon(request, tmp_path):
    yield from serving(tmp_path, request.param)


def frame(opcode, key=b"", extras=b"", value=b"", unique=0, opaque=0xabcd):
    return struct.pack("!BBHBBHIIQ", 0x80, opcode, len(key), len(extras), 0, 0, len(key + extras + value), opaque,
                       unique) + extras + key + value


def store(opcode, key, value, flags=0, exptime=0, unique=0):
    return frame(opcode, key, struct.pack("!II", flags, exptime), value, unique)


def count(opcode, key, delta, initial=0, exptime=0xffffffff):
    return frame(opcode, key, struct.pack("!QQI", delta, initial, exptime))


def touch(opcode, key, exptime):
    return frame(opcode, key, struct.pack("!I", exptime))


def read_frame(s):
    """(opcode, status, extras, key, value, opaque, unique), or None at the end."""
    def exactly(n):
        data = b""
        while len(data) < n:
            part = s.recv(n - len(data))
            if not part:
                raise EOFError
            data += part
        return data
    try:
        magic, opcode, key, extras, _, status, body, opaque, unique = struct.unpack("!BBHBBHIIQ", exactly(24))
    except EOFError:
        return None
    assert magic == 0x81
    data = exactly(body)
    return opcode, status, data[:extras], data[extras:extras + key], data[extras + key:], opaque, unique


def talk(s, frames):
    """What is answered to frames, up to the answer to a NOOP of its own."""
    s.sendall(frames + frame(NOOP, opaque=0x4e4f4f50))
    replies = []
    while True:
        reply = read_frame(s)
        if reply is None:
            return replies + ["closed"]
        if reply[0] == NOOP and reply[5] == 0x4e4f4f50:
            return replies
        replies.append(reply)


def alike(replies):
    return [reply if reply == "closed" else reply[:6] + (min(reply[6], 1),) for reply in replies]


EXCHANGES = [
    frame(NOOP) + frame(VERSION),
    frame(GET, b"none") + frame(GETQ, b"none") + frame(GETK, b"none") + frame(GETKQ, b"none"),
    store(SET, b"k", b"value", 5) + frame(GET, b"k") + frame(GETQ, b"k") + frame(GETK, b"k") + frame(GETKQ, b"k"),
    store(SETQ, b"k", b"") + frame(GET, b"k"),
    store(SET, b"\0\xff \r\n", b"binary key") + frame(GETK, b"\0\xff \r\n") + frame(DELETE, b"\0\xff \r\n"),
    store(ADD, b"k", b"a") + store(ADD, b"k", b"b") + store(ADDQ, b"k", b"c") + store(ADDQ, b"new", b"d") + frame(GET, b"new"),
    store(REPLACE, b"none", b"a") + store(REPLACEQ, b"none", b"a") + store(SET, b"k", b"a", 3) + store(REPLACE, b"k", b"bb", 4)
    + store(REPLACEQ, b"k", b"cc", 7) + frame(GET, b"k"),
    frame(APPEND, b"none", value=b"a") + frame(PREPENDQ, b"none", value=b"a") + store(SET, b"k", b"m", 9)
    + frame(APPEND, b"k", value=b">") + frame(PREPEND, b"k", value=b"<") + frame(APPENDQ, b"k", value=b"!") + frame(GET, b"k"),
    store(SET, b"k", b"a", unique=77) + store(SET, b"k", b"a") + store(SET, b"k", b"b", unique=77)
    + store(REPLACE, b"k", b"b", unique=77) + store(SETQ, b"k", b"b", unique=77) + frame(DELETE, b"k", unique=77)
    + frame(APPEND, b"k", value=b"x", unique=77) + frame(GET, b"k"),
    frame(DELETE, b"none") + frame(DELETEQ, b"none") + store(SET, b"k", b"a") + frame(DELETEQ, b"k") + frame(GET, b"k"),
    count(INCR, b"n", 1) + count(INCR, b"n", 1, 10, 0) + count(INCR, b"n", 5, 10, 0) + count(DECR, b"n", 2) + frame(GET, b"n")
    + count(INCRQ, b"n", 1) + count(DECRQ, b"none", 1) + count(DECRQ, b"m", 1, 3, 0) + frame(GET, b"m") + count(DECR, b"n", 100),
    store(SET, b"s", b"abc") + count(INCR, b"s", 1) + count(INCRQ, b"s", 1),
    touch(TOUCH, b"none", 10) + store(SET, b"k", b"a", 2) + touch(TOUCH, b"k", 100) + touch(GAT, b"k", 100)
    + touch(GATQ, b"k", 100) + touch(GATK, b"k", 100) + touch(GATKQ, b"k", 100) + touch(GAT, b"none", 1) + touch(GATQ, b"none", 1)
    + touch(GATK, b"none", 1) + touch(GATKQ, b"none", 1),
    store(ADD, b"k", b"", exptime=2678400) + frame(GET, b"k"),
    store(SET, b"k", b"a") + frame(FLUSH) + frame(GET, b"k") + frame(FLUSHQ) + frame(FLUSH, extras=struct.pack("!I", 0)),
    frame(QUIT),
    frame(QUITQ),
]


def test_beside_a_real_memcached(daemon, tmp_path):
    real = Memcached(tmp_path)
    try:
        for frames in EXCHANGES:
            with daemon.connect() as ours, real.connect() as theirs:
                talk(ours, frame(FLUSH)), talk(theirs, frame(FLUSH))
                assert alike(talk(ours, frames)) == alike(talk(theirs, frames)), frames
    finally:
        real.stop()


def test_mistakes(daemon):
    """Unknown commands are answered; where lengths contradict each other, nobody knows where the next frame begins."""
    with daemon.connect() as s:
        assert [reply[1] for reply in talk(s, frame(0x55, b"key", b"", b"value") + frame(SASL_LIST) + frame(GET, b"k"))] == \
            [0x81, 0x81, 1]
    for wrong in (frame(GET), frame(GET, b"k", b"extra"), frame(SET, b"k", b"", b"value"), frame(GET, b"k" * 251),
                  frame(NOOP, b"k"), struct.pack("!BBHBBHIIQ", 0x80, 0, 10, 0, 0, 0, 5, 0, 0)):
        with daemon.connect() as s:
            [reply, end] = talk(s, wrong)
            assert reply[1] == 4 and end == "closed", wrong


def test_uniques(daemon):
    with daemon.connect() as s:
        [stored] = talk(s, store(SET, b"k", b"a", 3))
        [found] = talk(s, frame(GET, b"k"))
        assert stored[6] == found[6] != 0
        [again] = talk(s, store(SET, b"k", b"b", 3, unique=stored[6]))
        assert again[1] == 0 and talk(s, store(SET, b"k", b"c", unique=stored[6]))[0][1] == 2
        [more] = talk(s, frame(APPEND, b"k", value=b"+", unique=again[6]))
        assert more[6] == talk(s, frame(GET, b"k"))[0][6]
        [n] = talk(s, count(INCR, b"n", 1, 10, 0))
        assert n[6] == talk(s, frame(GET, b"n"))[0][6] and struct.unpack("!Q", n[4]) == (10,)
        assert talk(s, frame(DELETE, b"n", unique=n[6] + 2))[0][1] == 2
        assert talk(s, frame(DELETE, b"n", unique=n[6]))[0][1] == 0


def test_stats_and_delayed_flush(daemon):
    with daemon.connect() as s:
        names = {reply[3]: reply[4] for reply in talk(s, frame(STAT))}
        assert names[b"version"] == b"1.6.18" and names[b""] == b"" and int(names[b"pid"]) > 0
        talk(s, store(SET, b"k", b"a"))
        assert talk(s, frame(FLUSH, extras=struct.pack("!I", 1)))[0][1] == 0
        assert talk(s, frame(GET, b"k"))[0][1] == 0
        wait_until(lambda: talk(s, frame(GET, b"k"))[0][1] == 1, what="the flush")


def test_both_protocols_on_one_connection(daemon):
    with daemon.connect() as s:
        s.sendall(b"set k 1 0 1\r\na\r\n")
        assert s.recv(100) == b"STORED\r\n"
        assert talk(s, frame(GET, b"k"))[0][4] == b"a"


def test_too_large_a_value_is_thrown_away(daemon):
    with daemon.connect() as s:
        replies = talk(s, store(SET, b"k", b"x" * 5000000) + frame(GET, b"k"))
        assert [reply[1] for reply in replies] == [3, 1]


PHP = r"""
$m = new Memcached();
$m->setOption(Memcached::OPT_BINARY_PROTOCOL, true);
$m->addServer($argv[1], 0);
function check($what, $is) { if (!$is) { echo "$what: ", $GLOBALS['m']->getResultMessage(), "\n"; exit(1); } }
check('set', $m->set('k', ['a' => 1], 60) && $m->get('k') === ['a' => 1]);
check('many', $m->setMulti(['x' => 1, 'y' => 'zwei']) && $m->getMulti(['x', 'y', 'none']) === ['x' => 1, 'y' => 'zwei']);
check('increment', $m->increment('x', 5) === 6 && $m->get('x') === 6 && $m->increment('new', 1, 7, 100) === 7);
check('add', !$m->add('y', 1) && $m->add('z', 1));
check('append', $m->setOption(Memcached::OPT_COMPRESSION, false) && $m->append('y', '!') && $m->get('y') === 'zwei!');
$got = $m->get('y', null, Memcached::GET_EXTENDED);
check('cas', $m->cas($got['cas'], 'y', 'drei') && !$m->cas($got['cas'], 'y', 'vier'));
check('touch', $m->touch('y', 100) && !$m->touch('none', 100));
check('delete', $m->delete('y') && $m->get('y') === false && $m->getResultCode() === Memcached::RES_NOTFOUND);
check('deleteMulti', $m->deleteMulti(['x', 'z']) === ['x' => true, 'z' => true]);
check('flush', $m->flush() && $m->get('k') === false);
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


def test_sasl_plain(locked):
    def login(name, password, asked=b""):
        return frame(SASL_AUTH, b"PLAIN", value=asked + b"\0" + name + b"\0" + password)

    with locked.connect() as s:
        assert talk(s, frame(GET, b"k"))[0][1] == 0x20 and talk(s, store(SET, b"k", b"a"))[0][1] == 0x20
        assert talk(s, frame(VERSION))[0][1] == 0
        assert talk(s, frame(SASL_LIST))[0][4] == b"PLAIN"
        assert [talk(s, login(*who))[0][1] for who in [(b"ada", b"wrong"), (b"bob", b"secret"), (b"ada", b"secret", b"root")]] \
            == [0x20] * 3
        assert talk(s, frame(SASL_AUTH, b"CRAM-MD5", value=b"x"))[0][1] == 0x20
        assert talk(s, frame(SASL_STEP, b"PLAIN", value=b"\0ada\0secret"))[0][1] == 0x20  # of nothing begun
        assert talk(s, frame(SASL_AUTH, b"PLAIN", value=b"\0ada"))[0][1] == 0x20
        assert talk(s, frame(GET, b"k"))[0][1] == 0x20
        assert talk(s, login(b"ada", b"secret"))[0][1] == 0
        assert talk(s, store(SET, b"k", b"a") + frame(GET, b"k"))[1][4] == b"a"
        assert talk(s, frame(FLUSH))[0][1] == 0x20  # it has no right to purge
    with locked.connect() as s:
        assert talk(s, frame(SASL_AUTH, b"PLAIN"))[0][1] == 0x21
        assert talk(s, frame(SASL_STEP, b"PLAIN", value=b"\0ada\0secret"))[0][1] == 0
        assert talk(s, frame(GET, b"k"))[0][4] == b"a"


SASL_PHP = r"""
$m = new Memcached();
$m->setOption(Memcached::OPT_BINARY_PROTOCOL, true);
$m->setSaslAuthData('ada', $argv[2]);
$m->addServer('127.0.0.1', (int)$argv[1]);
echo json_encode([$m->set('k', 1), $m->get('k')]);
"""


def test_php_memcached_logs_in(locked):
    if subprocess.run(["php", "-r", "exit(method_exists('Memcached', 'setSaslAuthData') ? 0 : 1);"]).returncode != 0:
        pytest.skip("this php-memcached was built without SASL")
    for password, expected in (("secret", "[true,1]"), ("wrong", "[false,false]")):
        result = subprocess.run(["php", "-r", SASL_PHP, "--", str(locked.port), password], capture_output=True, text=True,
                                timeout=60 * SLOW)
        assert result.stdout == expected, result
