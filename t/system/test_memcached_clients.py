"""Libraries that speak memcached, from Debian's packages, unchanged: as test_real_clients.py does for those of Redis. Each suite passes
in memory alone and with Redis behind."""

import json
import subprocess
from pathlib import Path

import pytest

from harness import SLOW
from memcached import serving

CLIENTS = Path(__file__).parent / "clients"
SUITES = ["memcached_symfony.php", "memcached_laravel.php", "memcached_sessions.php", "memcached_django.py", "memcached_dogpile.py"]


@pytest.fixture(params=["memory", "layered"])
def daemon(request, tmp_path):
    yield from serving(tmp_path, request.param)


@pytest.mark.parametrize("suite", SUITES)
def test_suite(daemon, suite):
    program = "php" if suite.endswith(".php") else "/usr/bin/python3"
    done = subprocess.run([program, str(CLIENTS / suite), str(daemon.socket), str(daemon.port)], capture_output=True,
                          timeout=60 * SLOW)
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and results, done.stdout + done.stderr
    for result in results:
        assert result["wrong"] is None, result
