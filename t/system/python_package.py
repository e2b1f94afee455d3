"""clients/python as the tests use it: built against the library of the build under test, in that build's folder."""

import fcntl
import os
import subprocess
import sys

from harness import ROOT, TREE

SOURCE = TREE / "clients" / "python"
# A library built with a sanitizer needs its runtime in the process, and Python has none: then the ordinary build's
# library speaks to the sanitized daemon.
PREFIXES = [ROOT, TREE / "build" / "root"]


def is_plain(prefix):
    library = prefix / "lib" / "libcachetastic.so"
    return library.exists() and b"__asan_init" not in library.read_bytes()


def build(python="/usr/bin/python3", name="python", cflags=""):
    """The folder to import from. Built at most once at a time, and only what is older than its source."""
    prefix = next((prefix for prefix in PREFIXES if is_plain(prefix)), None)
    if prefix is None:
        return None
    target = prefix / name
    target.mkdir(exist_ok=True)
    with open(target / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        env = dict(os.environ, PKG_CONFIG_PATH=str(prefix / "lib" / "pkgconfig"), CFLAGS=cflags)
        done = subprocess.run([python, "setup.py", "-q", "build", "--build-base", str(prefix / f"{name}-objects"),
                               "--build-lib", str(target)], cwd=SOURCE, env=env, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, done.stdout
        assert ".c:" not in done.stdout, done.stdout  # no warnings
    return target


def use():
    """Make `import cachetastic` work here. False: there is only a sanitizer's library."""
    target = build()
    if target is not None and str(target) not in sys.path:
        sys.path.insert(0, str(target))
    return target is not None


def environment():
    """Of a process that imports it."""
    return dict(os.environ, PYTHONPATH=f"{build()}:{TREE / 't' / 'system'}", PYTHONDONTWRITEBYTECODE="1")
