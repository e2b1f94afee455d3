"""The clients and libraries that applications use, from Debian's packages, unchanged, against the unix socket.

A suite is a program in clients/: it is told the socket, and prints one line of JSON for each behaviour. On a memory cache all of
them pass, but those in NEEDS_REDIS, whose error must say so. With Redis behind all of them pass, once what Redis decides is passed on
to it.
"""

import hashlib
import json
import re
import subprocess
from pathlib import Path

import pytest
import redis

from harness import SLOW, wait_until

CLIENTS = Path(__file__).parent / "clients"
SUITES = ["phpredis.php", "predis.php", "redispy.py", "django_suite.py", "symfony_cache.php", "symfony_tags.php",
          "symfony_lock.php", "laravel.php", "sessions.php", "dogpile_suite.py"]

# Data types that only Redis has, or a promise that a cache does not give: what their error says.
NEEDS_REDIS = {
    ("symfony_tags.php", "tags"): "maxmemory-policy",
    ("symfony_lock.php", "lock"): "needs a cache with Redis behind",
    ("laravel.php", "phpredis: tags"): "protocol error",  # what phpredis makes of an error reply to SSCAN
    ("laravel.php", "predis: tags"): "unknown command",
}


def run_suite(suite, socket):
    program = ["php"] if suite.endswith(".php") else ["/usr/bin/python3"]
    done = subprocess.run([*program, str(CLIENTS / suite), str(socket)], capture_output=True, timeout=60 * SLOW)
    results = {}
    for line in done.stdout.splitlines():
        result = json.loads(line)
        results[result["name"]] = result["wrong"]
    assert done.returncode == 0 and results, done.stdout + done.stderr
    return results


@pytest.mark.parametrize("suite", SUITES)
def test_memory_only(daemon, suite):
    for name, wrong in run_suite(suite, daemon.socket).items():
        if (suite, name) in NEEDS_REDIS:
            assert wrong is not None and NEEDS_REDIS[suite, name] in wrong, name
        else:
            assert wrong is None, f"{suite}: {name}: {wrong}"
    daemon.check()


# SELECT 1 and 3 are caches of their own.
NAMED = """
    workers = 2;
    listen = ( {{ address = "unix:{socket}"; }} );
    redis: {{ server = "SERVER"; }};
    caches = ( {{ name = "default"; memory = "16M"; }}, {{ name = "one"; memory = "16M"; resp_db = 1; }},
               {{ name = "three"; memory = "16M"; resp_db = 3; }} );
"""

# A script that composes the names of keys itself must find them as it knows them, and L1 hears of its deletes from Redis.
PLAIN = """
    workers = 2;
    listen = ( {{ address = "unix:{socket}"; }} );
    redis: {{ server = "SERVER"; prefix = ""; tracking = true; }};
    caches = ( {{ name = "default"; memory = "16M"; }} );
"""


@pytest.mark.parametrize("suite", SUITES)
def test_with_redis_behind(daemons, redis_server, suite):
    config = PLAIN if suite == "symfony_tags.php" else NAMED
    daemon = daemons(config=config.replace("SERVER", f"127.0.0.1:{redis_server.port}"))
    wait_until(lambda: daemon.stats()["redis"]["invalidation_confirmed"], what="the subscription")
    for name, wrong in run_suite(suite, daemon.socket).items():
        assert wrong is None, f"{suite}: {name}: {wrong}"


def source(path, pattern):
    return re.search(pattern, Path(path).read_text(), re.DOTALL).group(1)


def scripts_of_packages():
    """The sources of the scripts that the daemon knows, out of the installed packages: whose, source."""
    from redis.lock import Lock
    for name in ("RELEASE", "EXTEND", "REACQUIRE"):
        yield f"redis-py {name}", getattr(Lock, f"LUA_{name}_SCRIPT")
    cache = "/usr/share/php/Illuminate/Cache"
    yield "Laravel releaseLock", source(f"{cache}/LuaScripts.php", r"<<<'LUA'\n(.*?)\nLUA;")
    yield "Laravel add", source(f"{cache}/RedisStore.php", r'\$lua = "(return redis.call.*?)";')
    client = Path("/usr/lib/python3/dist-packages/django_redis/client/default.py").read_text()
    for number, script in enumerate(re.findall(r'lua = """(.*?)"""', client, re.DOTALL)):
        yield f"django-redis incr {number}", script
    directory = subprocess.run(["php", "-r", "echo ini_get('extension_dir');"], capture_output=True, text=True).stdout
    module = (Path(directory) / "redis.so").read_bytes()
    at = module.index(b'if redis.call("get"')
    yield "phpredis session", module[at:module.index(b"\0", at)].decode()


def test_the_scripts_that_are_known_are_those_that_clients_send(daemon):
    """Fails when a package drifts: then the new script is to be looked at, and its sum to be added."""
    c = daemon.client()
    found = dict(scripts_of_packages())
    assert len(found) == 8
    for whose, script in found.items():
        sha1 = hashlib.sha1(script.encode()).hexdigest()
        assert c.script_exists(sha1) == [True], whose
        assert c.script_load(script) == sha1, whose
    assert c.script_exists("0" * 40) == [False]
    assert c.script_flush() is True
    for command in (["EVAL", "return 1", "0"], ["SCRIPT", "LOAD", "return 1"]):
        with pytest.raises(redis.ResponseError, match="needs a cache with Redis behind"):
            c.execute_command(*command)
    with pytest.raises(redis.exceptions.NoScriptError):
        c.evalsha("0" * 40, 0)
    release = found["Laravel releaseLock"]
    for wrong in ([0], [2, "k", "k2", "v"], [1, "k"], [5, "k", "v"], [-1, "k"]):
        with pytest.raises(redis.ResponseError):
            c.execute_command("EVAL", release, *wrong)
    c.set("k", "v")
    assert c.eval(release, 1, "k", "other") == 0
    assert c.eval(release, 1, "k", "v") == 1 and c.get("k") is None
