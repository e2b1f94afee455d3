"""redis-py, beyond what test_clients.py and test_commands.py ask of it: locks, transactions, registered scripts."""
import sys

import redis

from checks import check

c = redis.Redis(unix_socket_path=sys.argv[1])
c.flushdb()


@check
def pipelines():
    assert c.pipeline(transaction=False).set("k", 1).incr("k").execute() == [True, 2]


@check
def transactions():
    assert c.pipeline().set("k", 1).incr("k").get("k").execute() == [True, 2, b"2"]
    assert c.transaction(lambda p: (p.multi(), p.set("k", "new")), "k") == [True]


@check
def locks():
    lock, other = c.lock("lock", timeout=10), c.lock("lock", timeout=10, blocking=False)
    assert lock.acquire() and not other.acquire()
    assert lock.extend(5) and 9000 < c.pttl("lock") <= 15000
    assert lock.extend(7, replace_ttl=True) and c.pttl("lock") <= 7000
    assert lock.reacquire() and c.pttl("lock") > 9000
    lock.release()
    assert c.get("lock") is None
    with c.lock("lock", timeout=1, blocking_timeout=1):
        assert c.exists("lock")


@check
def a_lost_lock():
    lock = c.lock("lost", timeout=10)
    lock.acquire()
    c.set("lost", "another's")
    for wrong in (lock.release, lambda: lock.extend(5), lock.reacquire):
        try:
            wrong()
        except redis.exceptions.LockError:
            continue
        raise AssertionError("the lock was another's")


@check
def scan():
    c.mset({f"s:{i}": i for i in range(100)})
    assert len(set(c.scan_iter("s:*"))) == 100
