"""The meta commands of memcached: every exchange beside a real memcached, and leases without its gaps."""

import re
import threading
import time

import pytest

from harness import SLOW, wait_until
from memcached import Memcached, exchange, serving


@pytest.fixture(params=["memory", "layered"])
def daemon(request, tmp_path):
    yield from serving(tmp_path, request.param)


@pytest.fixture
def memory(tmp_path):
    yield from serving(tmp_path, "memory")


EXCHANGES = [
    b"mn\r\nmn x\r\n",
    b"mg\r\nms\r\nmd\r\nma\r\nme\r\n",
    b"mg none\r\nmg none v\r\nmg none q\r\nmg none k O1 q v\r\nmg none k O1\r\nmg none O1 k\r\nme none\r\n",
    b"ms k 3\r\nabc\r\nmg k\r\nmg k v\r\nmg k k f s t v O77 q\r\nmg k q\r\nmg k q k\r\nmg  k   v \r\nmg k  \r\nmg k u s\r\n",
    b"ms k 3 T100 F5 k O9 c\r\nabc\r\nmg k f t s v\r\nget k\r\n",
    b"ms k 3 q\r\nabc\r\nmg k v\r\nms k 3 q k O1 c\r\nabc\r\nmg k s\r\n",
    b"ms k 0\r\n\r\nmg k v s\r\n",
    b"ms k\r\nms k x\r\nms k -1\r\nms k S3\r\n",
    b"ms k 3\r\nabcd\r\nmg k v\r\n",
    b"ms aGk= 3 b k O1\r\nabc\r\nmg aGk= b k v\r\nget hi\r\nmg aGk b\r\nmg !!!! b\r\nmd aGk= b k q\r\nmd aGk= b k\r\n",
    b"ms AAECIA== 2 b\r\nxy\r\nmg AAECIA== b k v\r\nmd AAECIA== b\r\nmg AAECIA== b k\r\n",
    b"ms hi 3 b\r\nabc\r\nmn\r\n",
    b"ms k 2 ME\r\nxx\r\nms k 2 ME\r\nyy\r\nms k 2 MA\r\nyy\r\nms k 2 MP\r\nzz\r\nmg k v\r\nms k 2 MR\r\nrr\r\nmg k v\r\n"
    b"ms none 2 MR\r\nrr\r\nms none 2 MA\r\nrr\r\nms none 2 MP k\r\nrr\r\nms k 2 MS\r\nss\r\nmg k v\r\n",
    b"ms k 2 ME q k\r\nxx\r\nms k 2 ME q k\r\nyy\r\nms k 2 Me\r\nyy\r\n",
    b"ms k 2 MX\r\nrr\r\nms k 2 M\r\nrr\r\nms k 2 MEE\r\nab\r\nmn\r\n",
    b"ms k 1 C5\r\na\r\nset k 0 0 1\r\nb\r\nms k 1 C5\r\na\r\nms k 1 C5 q c k\r\na\r\nms k 1 MA C1 c k\r\na\r\n"
    b"ms none 1 MA C1 c k\r\na\r\nms none 1 MR C1\r\na\r\nms k 1 ME C1\r\na\r\nms k 1 MR C1\r\na\r\nms none 1 ME C1\r\na\r\n",
    b"ms k 1 Fx\r\na\r\nms k 1 Tx\r\na\r\nms k 1 Cx\r\na\r\nms k 1 F4294967295\r\na\r\nmg k f\r\n",
    b"ms k 1 T-1\r\na\r\nmg k\r\n",
    b"ms n 1\r\n5\r\nma n\r\nma n v\r\nma n v D10 t\r\nma n MD v\r\nma n M- D100 v k O5\r\nma n MI v\r\nma n M+ v\r\nma n Md v\r\n",
    b"ma none\r\nma none q\r\nma none k O1 t c\r\nma none N0 J13 v t\r\nma none N0 J13 v\r\nmg none v\r\n",
    b"ma new N100 J5\r\nmg new v t\r\nma new T50 v t\r\nma new q\r\nma new q v\r\nmg new v\r\n",
    b"set n 0 0 1\r\n5\r\nma n C1 k\r\nma n C1 q v\r\nma n Mx\r\nma n Dx\r\nma n D\r\nma n J\r\nma n N\r\nma n J5 v\r\n",
    b"set s 0 0 1\r\na\r\nma s\r\nma s v q\r\n",
    b"set n 0 0 20\r\n18446744073709551615\r\nma n v\r\nma n v D18446744073709551615\r\n",
    b"md none\r\nmd none k O3\r\nmd none O3 k\r\nmd none q\r\nset s 0 0 1\r\na\r\nmd s q\r\nmd s\r\nset s 0 0 1\r\na\r\nmd s k O1\r\n",
    b"set s 0 0 1\r\na\r\nmd s C1\r\nmd s C1 q k\r\nmd s Cx\r\nmg s v\r\nmd none C1\r\nmd none I\r\n",
    b"ms i 1 T100\r\na\r\nmd i I T30 k O4\r\nmg i t v\r\nmg i t v\r\nmg i v\r\nget i\r\nms i 1\r\nc\r\nmg i v t\r\n",
    b"ms i 1 F3\r\na\r\nmd i I q\r\nmg i\r\nmg i k f s\r\n",
    b"ms g 1\r\na\r\nmd g I\r\nappend g 0 0 1\r\nb\r\nmg g v\r\nmd g I\r\nms g 1 MP\r\nc\r\nmg g v\r\nmd g I\r\nset g 0 0 1\r\nd\r\nmg g v\r\n",
    b"ms a 1 k I\r\na\r\nmg a v\r\nms a 1 I C1\r\nb\r\nmg a v\r\nmg a v\r\n",
    b"mg w N30 v t f s k O5\r\nmg w N30 v t\r\nmg w N30\r\nms w 1\r\na\r\nmg w N30 v\r\n",
    b"ms r 1 T20\r\na\r\nmg r R30 v t\r\nmg r R30 v t\r\nms r 1\r\nb\r\nmg r R30 v t\r\n",
    b"ms k 1 T10\r\na\r\nmg k R30 T50 t v\r\n",
    b"set k 0 0 1\r\na\r\nmg k T100 t v\r\nmg k t\r\nmg none T100\r\nmg k N30 R30 T50 t v\r\n",
    b"mg k v v\r\nmg k E1\r\nmg k y\r\nmg k 1\r\nmg k T\r\nmg k Tx\r\nmg k N\r\nmg k R-1\r\nmg k M\r\nmg k O123456789012345678901234567890123\r\n",
    b"ms none 1 y\r\na\r\nma none y\r\nmd none y\r\nma none v h\r\nmd none v\r\nmn\r\n",
    b"mg " + b"k" * 250 + b" v\r\nmg " + b"k" * 251 + b" v\r\nma " + b"k" * 251 + b"\r\nmd " + b"k" * 251 + b"\r\n",
    b"mg " + b"YWFh" * 84 + b" b\r\n",
    b"set h 0 0 1\r\na\r\nmg h h\r\nmg h h\r\n",
]


def alike(reply):
    """Without what differs: uniques, times of access, a second on either side."""
    reply = re.sub(rb" c[1-9]\d*", b" cN", reply)
    return re.sub(rb" t(\d*)9\b", lambda found: b" t%d" % (int(found[0][2:]) + 1), reply)


def test_beside_a_real_memcached(daemon, tmp_path):
    real = Memcached(tmp_path)
    try:
        for text in EXCHANGES:
            with daemon.connect() as ours, real.connect() as theirs:
                assert exchange(ours, b"flush_all\r\n") == exchange(theirs, b"flush_all\r\n")
                assert alike(exchange(ours, text)) == alike(exchange(theirs, text)), text
    finally:
        real.stop()


def test_what_differs_on_purpose(memory):
    with memory.connect() as s:
        exchange(s, b"set k 0 0 1\r\na\r\n")
        assert exchange(s, b"mg k l\r\n") == b"HD l-1\r\n"  # no time of access is kept
        exchange(s, b"mg k N30\r\n")
        # A refused ms takes its value with it.
        assert exchange(s, b"ms " + b"k" * 251 + b" 9\r\nflush_all\r\n") == b"CLIENT_ERROR bad command line format\r\n"
        reply = exchange(s, b"me k\r\n")
        assert re.fullmatch(rb"ME k exp=-1 cas=\d+ fetch=yes size=2\r\n", reply), reply


def unique(s, key):
    return int(re.search(rb"c(\d+)", exchange(s, b"mg %s c\r\n" % key))[1])


def test_uniques(daemon):
    with daemon.connect() as s:
        exchange(s, b"ms k 1 F3\r\na\r\n")
        first = unique(s, b"k")
        assert exchange(s, b"ms k 1 F3 c C%d\r\nb\r\n" % first).startswith(b"HD c")
        assert exchange(s, b"ms k 1 C%d\r\nc\r\n" % first) == b"EX\r\n"
        assert exchange(s, b"ms k 1 MA C%d\r\n+\r\n" % unique(s, b"k")) == b"HD\r\n"
        assert exchange(s, b"mg k v f\r\n") == b"VA 2 f3\r\nb+\r\n"
        # What a store answers with c is what is there.
        told = int(re.search(rb"c(\d+)", exchange(s, b"ms k 1 MP c\r\n-\r\n"))[1])
        assert told == unique(s, b"k")
        told = int(re.search(rb"c(\d+)", exchange(s, b"ms n 1 c\r\n5\r\n"))[1])
        assert told == unique(s, b"n")
        told = int(re.search(rb"c(\d+)", exchange(s, b"ma n c C%d\r\n" % told))[1])
        assert told == unique(s, b"n")
        assert exchange(s, b"ma n C1\r\n") == b"EX\r\n"
        # Marked as stale: another unique; it goes only with its own.
        exchange(s, b"md n I\r\n")
        assert unique(s, b"n") != told
        assert exchange(s, b"md n C%d\r\n" % told) == b"EX\r\n"
        assert exchange(s, b"ms n 1 C%d I\r\n6\r\n" % told) == b"HD\r\n"
        assert b" X" in exchange(s, b"mg n v\r\n")
        assert exchange(s, b"md n C%d\r\n" % unique(s, b"n")) == b"HD\r\n"
        assert exchange(s, b"md n C%d\r\n" % told) == b"NF\r\n"


def test_a_miss_is_won_once_and_filled(daemon):
    with daemon.connect() as a, daemon.connect() as b:
        won = exchange(a, b"mg k N30 c v\r\n")
        token = int(re.fullmatch(rb"VA 0 c(\d+) W\r\n\r\n", won)[1])
        assert exchange(b, b"mg k N30 v t\r\n") == b"VA 0 t30 Z\r\n\r\n"
        # No plain read sees the empty item, and add finds nothing there.
        assert exchange(b, b"get k\r\n") == b"END\r\n" and exchange(b, b"mg k v\r\n") == b"EN\r\n"
        assert exchange(a, b"ms k 5 C%d\r\nvalue\r\n" % token) == b"HD\r\n"
        assert exchange(b, b"mg k N30 v\r\n") == b"VA 5\r\nvalue\r\n"
        assert exchange(a, b"ms k 1 C%d\r\nx\r\n" % token) == b"EX\r\n"


def test_what_was_invalidated_meanwhile_is_not_filled(daemon):
    with daemon.connect() as a, daemon.connect() as b:
        token = int(re.search(rb"c(\d+)", exchange(a, b"mg k N30 c\r\n"))[1])
        exchange(b, b"md k\r\n")
        assert exchange(a, b"ms k 3 C%d\r\nold\r\n" % token) == b"NF\r\n"
        token = int(re.search(rb"c(\d+)", exchange(a, b"mg k N30 c\r\n"))[1])
        exchange(b, b"set k 0 0 3\r\nnew\r\n")
        assert exchange(a, b"ms k 3 C%d\r\nold\r\n" % token) == b"EX\r\n"
        assert exchange(b, b"get k\r\n") == b"VALUE k 0 3\r\nnew\r\nEND\r\n"


def test_a_win_ends(daemon):
    """With its time, or with its connection; a recache too."""
    with daemon.connect() as b:
        a = daemon.connect()
        assert b" W" in exchange(a, b"mg k N1\r\n")
        assert b" Z" in exchange(b, b"mg k N1\r\n")
        wait_until(lambda: b" W" in exchange(b, b"mg k N1\r\n"), what="the win's end")
        exchange(b, b"ms k 1 T20\r\na\r\n")
        assert b" W" in exchange(a, b"mg k R30\r\n")
        assert b" Z" in exchange(b, b"mg k R30\r\n")
        a.close()
        wait_until(lambda: b" W" in exchange(b, b"mg k R30\r\n"), what="the end of who won")
        exchange(b, b"md k I\r\n")
        a = daemon.connect()
        assert exchange(a, b"mg k v N1\r\n") == b"VA 1 X W\r\na\r\n"
        assert exchange(b, b"mg k v\r\n") == b"VA 1 Z X\r\na\r\n"
        wait_until(lambda: b" W" in exchange(b, b"mg k N1\r\n"), what="the recache's end")
        a.close()


def test_losers_may_wait(daemon):
    """A: the reply comes with the winner's value."""
    with daemon.connect() as a, daemon.connect() as b:
        assert b" W" in exchange(a, b"mg k N30\r\n")
        replies = []
        thread = threading.Thread(target=lambda: replies.append(exchange(b, b"mg k N30 A5000 v\r\n")))
        thread.start()
        time.sleep(0.2)
        assert replies == []
        began = time.monotonic()
        exchange(a, b"ms k 5\r\nvalue\r\n")
        thread.join(10 * SLOW)
        assert replies == [b"VA 5\r\nvalue\r\n"] and time.monotonic() - began < 2 * SLOW
        # Nobody fills: told after the time it wanted to wait.
        assert b" W" in exchange(a, b"mg other N30\r\n")
        began = time.monotonic()
        assert b" Z" in exchange(b, b"mg other N30 A300\r\n")
        assert 0.25 < time.monotonic() - began < 5 * SLOW


def test_pipelined_quiet_gets(daemon):
    with daemon.connect() as s:
        exchange(s, b"ms a 1\r\n1\r\nms c 1\r\n3\r\n")
        assert exchange(s, b"mg a q v O1\r\nmg b q v O2\r\nmg c q v O3\r\nmn\r\n") == \
            b"VA 1 O1\r\n1\r\nVA 1 O3\r\n3\r\nMN\r\n"
