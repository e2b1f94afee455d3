"""The same commands to a memory cache and to a Redis server: the same replies, byte for byte, in RESP2 and RESP3.

Where Redis has no order (KEYS), no fixed reply (INFO), or the two differ by design, a command is not in the list.
"""

import shlex
import socket

import pytest

import resp

COMMANDS = """
SET k v
GET k
GET nope
SET k v2 XX GET
SET k v3 NX
SET n 5 EX 100
SET n 6 KEEPTTL
TTL n
SET
SET k
SET k v EX
SET k v EX 0
SET k v EX -1
SET k v EX x
SET k v EX 10 PX 10
SET k v NX XX
SET k v FOO
SET k v EX 99999999999999999
SET k v PXAT 99999999999999
SETEX k 0 v
SETEX k x v
SETEX k 10 v
PSETEX k -1 v
SETNX k v
SETNX k9 v
GETSET k w
GETDEL k9
GETDEL k9
GETEX k EX 100
GETEX k PERSIST
GETEX k EX 0
GETEX k FOO 1
GETEX nope
STRLEN k
STRLEN nope
APPEND k xyz
INCR n
INCR k
INCRBY n 10
INCRBY n x
DECRBY n 3
DECR n
DECRBY n -9223372036854775808
SET big 9223372036854775807
INCR big
INCRBYFLOAT n 0.5
INCRBYFLOAT n -0.25
INCRBYFLOAT k 1
INCRBYFLOAT n abc
INCRBYFLOAT n 1e400
SET f 3.0e3
INCRBYFLOAT f 200
INCRBYFLOAT f 0.1
SET f 0.1
INCRBYFLOAT f 0.2
MSET a 1 b 2
MSET a 1 b
MSET
MGET a b nope k
MSETNX a 1 new 2
MSETNX new1 1 new2 2
MSETNX a
EXISTS a b nope a
DEL a nope
UNLINK b b
TOUCH new1 new2 nope
TYPE new1
TYPE nope
RENAME new1 new3
RENAME nope x
RENAME new3 new3
RENAMENX new3 new2
RENAMENX new3 new4
RENAMENX nope x
COPY new4 new5
COPY new4 new5
COPY new4 new5 REPLACE
COPY new4 new4
COPY nope new6
COPY new4
SETRANGE k 2 ZZ
SETRANGE k -1 x
SETRANGE fresh 3 x
SETRANGE none 0 ""
SETRANGE k x y
GETRANGE k 0 2
GETRANGE k -3 -1
GETRANGE k 3 1
GETRANGE k -1 -3
GETRANGE k -100 100
GETRANGE k 100 200
GETRANGE nope 0 -1
GETRANGE k x 1
SUBSTR k 0 1
EXPIRE k 100
EXPIRE k 50 NX
EXPIRE k 50 GT
EXPIRE k 50 LT
EXPIRE k 60 XX GT
EXPIRE k 60 NX GT
EXPIRE k 60 GT LT
EXPIRE k 60 FOO
EXPIRE k x
EXPIRE nope 10
EXPIRE k 9223372036854775807
PEXPIRE k 100000
EXPIREAT k 2000000000
EXPIRETIME k
PEXPIRETIME k
EXPIRETIME nope
PERSIST k
PERSIST k
EXPIRETIME k
TTL k
PTTL nope
EXPIRE k -1
EXISTS k
PEXPIREAT new4 1
GET new4
OBJECT ENCODING n
OBJECT ENCODING new5
OBJECT ENCODING nope
OBJECT REFCOUNT new5
MEMORY USAGE nope
DBSIZE
FLUSHDB
DBSIZE
FLUSHDB ASYNC
FLUSHALL SYNC
FLUSHDB FOO
RANDOMKEY
KEYS *
SET only 1
KEYS o*
RANDOMKEY
SCAN 0 COUNT 100000
SCAN 0 MATCH x* COUNT 100000
SCAN 0 TYPE list COUNT 100000
SCAN x
SCAN 0 COUNT 0
SCAN 0 COUNT x
SCAN 0 FOO 1
MULTI
MULTI
SET t 1
INCR t
GET t
MGET t nope
INCR only x
EXEC
MULTI
SET t 5
INCR t
SET u abc
INCR u
GET u
EXEC
DISCARD
EXEC
MULTI
SET t 9
DISCARD
GET t
MULTI
NOSUCH a
EXEC
WATCH t
MULTI
WATCH t
GET t
EXEC
WATCH t u
SET t 1
MULTI
GET t
EXEC
UNWATCH
WATCH t
UNWATCH
SET t 2
MULTI
GET t
EXEC
MULTI
EXEC
EVALSHA 0000000000000000000000000000000000000000 0
SCRIPT EXISTS 0000000000000000000000000000000000000000
SCRIPT FLUSH
SELECT 3
SET k three
SELECT 0
GET k
SELECT 99
SELECT x
ECHO hello
ECHO
PING
PING hello
PING a b
TIME x
WAIT 0 0
WAIT x 0
CLIENT GETNAME
CLIENT SETNAME me
CLIENT GETNAME
CLIENT SETNAME "a b"
CLIENT SETINFO
CLIENT NO-EVICT ON
CLIENT NO-EVICT x
CLIENT REPLY ON
CLIENT UNPAUSE
CLIENT GETREDIR
CLIENT KILL 127.0.0.1:1
CLIENT KILL ID 999999
COMMAND GETKEYS MSET a 1 b 2
COMMAND GETKEYS GET k
COMMAND GETKEYS PING
COMMAND GETKEYS PING x
COMMAND COUNT x
COMMAND NOSUCH
CLIENT NOSUCH
CONFIG NOSUCH
OBJECT NOSUCH k
SCRIPT NOSUCH
CLIENT ID x
CLIENT
OBJECT
SCRIPT
CONFIG
DEBUG SLEEP 0
COMMAND GETKEYS NOSUCH k
COMMAND INFO nosuch
CONFIG GET nosuch
CONFIG GET appendonly
CONFIG RESETSTAT
NOSUCH
NOSUCH a b c
GET
GET a b
HELLO 9
HELLO x
GETEX k EX 10 PX 10
"""

# By design: the version, an error that says more, another limit, and what Redis 7.0 has under another text.
DIFFER = {
    "DEBUG SLEEP 0": "says less",
    "SELECT 99": "names the key",
    "CLIENT SETINFO": "7.2 has it",
    'CLIENT SETNAME "a b"': "names the limit",
    "SCAN 0 TYPE list COUNT 100000": "7.0's cursor",
}




def talk(sock, version):
    replies = {}
    with resp.Connection(sock) as c:
        if version == 3:
            c.call("HELLO", "3")
        for number, line in enumerate(COMMANDS.strip().splitlines()):
            try:
                replies[number, line] = c.call(*shlex.split(line))
            except resp.ReplyError as error:
                replies[number, line] = error
    return replies


@pytest.mark.parametrize("version", [2, 3])
def test_replies_are_those_of_redis(daemon, redis_server, version):
    ours = talk(daemon.connect(), version)
    theirs = talk(socket.create_connection(("127.0.0.1", redis_server.port)), version)
    wrong = [f"{line}: {ours[number, line]!r}, not {reply!r}" for (number, line), reply in theirs.items()
             if line not in DIFFER and ours[number, line] != reply]
    assert not wrong, "\n".join(wrong)
