"""Readers of a mapped cache while everything that can happen to it happens: writers killed in the middle of a write, the
cache cleared and its memory reclaimed, workers and the master killed, the daemon restarted.

    direct_soak.py [--reads 10000000] [--readers 2] [--seed 1]

Each value begins with a checksum of its key and the rest. Required: as many reads as asked for, none of them wrong, no
reader ended. Counted are reads that were answered: those that failed because the daemon was away are told apart.
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

import python_package
from harness import Daemon, end, wait_until

KEYS = 512
SIZES = (0, 10, 100, 1000, 8000, 60000)
CONFIG = """
listen = ( {{ address = "unix:{socket}"; mode = "0666"; }} );
caches = ( {{ name = "default"; memory = "8M"; direct = true; direct_trust = true; }} );
workers = 2;
"""

READER = r"""
import sys, time, zlib
from cachetastic import Cache, errors
cache = Cache(socket=sys.argv[1], serializer="raw", timeout=5)
left, seed, keys = int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
names = [b"k%d" % i for i in range(keys)]
starts = [zlib.crc32(name) for name in names]
crc32, get = zlib.crc32, cache.get
wrong = hits = failed = 0
while left:
    seed = (seed * 1103515245 + 12345) & 0x7fffffff
    i = (seed >> 8) % keys
    try:
        value = get(names[i])
    except errors.CacheError:
        failed += 1
        time.sleep(0.001)
        continue
    left -= 1
    if value is not None:
        hits += 1
        if crc32(value[4:], starts[i]).to_bytes(4, "big") != value[:4]:
            wrong += 1
counts = cache.counts()
print(hits, wrong, failed, counts["direct_hits"], counts["direct_misses"], counts["connects"])
"""

WRITER = r"""
import random, sys, time, zlib
from cachetastic import Cache, errors
cache = Cache(socket=sys.argv[1], serializer="raw", timeout=5)
random.seed(int(sys.argv[2]))
keys, sizes = int(sys.argv[3]), eval(sys.argv[4])
while True:
    key = b"k%d" % random.randrange(keys)
    body = random.randbytes(random.choice(sizes))
    try:
        if random.random() < 0.05:
            cache.delete(key)
        cache.set(key, zlib.crc32(key + body).to_bytes(4, "big") + body, random.choice((None, None, 0.05)))
    except errors.CacheError:
        time.sleep(0.01)
"""


def start(script, *arguments):
    return subprocess.Popen(["/usr/bin/python3", "-c", script, *map(str, arguments)],
                            env=python_package.environment(), stdout=subprocess.PIPE, text=True)


class Events:
    """What happens to the daemon and its writers; how often each did."""

    def __init__(self, daemon, seed):
        self.daemon, self.random, self.numbers = daemon, random.Random(seed), iter(range(1 << 30))
        self.counts = dict.fromkeys(("writers killed", "clears", "workers killed", "masters killed", "outages",
                                     "restarts"), 0)
        self.writers = [self.writer() for _ in range(2)]

    def writer(self):
        return start(WRITER, self.daemon.socket, next(self.numbers), KEYS, SIZES)

    def kill_a_writer(self):
        at = self.random.randrange(len(self.writers))
        self.writers[at].kill()
        self.writers[at].communicate()
        self.writers[at] = self.writer()
        self.counts["writers killed"] += 1

    def clear(self):
        self.daemon.client().execute_command("CACHETASTIC.CLEAR")
        self.counts["clears"] += 1

    def kill_a_worker(self):
        """Workers write the memory: what a client's process cannot leave half done, these may."""
        alive = [pid for pid in self.daemon.worker_pids() if pid > 0]
        if not alive:
            return
        os.kill(self.random.choice(alive), signal.SIGKILL)
        self.counts["workers killed"] += 1
        wait_until(self.daemon.serves, 20, "every worker serving")

    def kill_the_master(self):
        end(self.daemon.process, signal.SIGKILL)
        self.daemon.start()
        self.counts["masters killed"] += 1

    def outage(self):
        """For longer than a reader believes a daemon it has not heard of: reads fail then."""
        end(self.daemon.process, signal.SIGKILL)
        time.sleep(1.5)
        self.daemon.start()
        self.counts["outages"] += 1

    def restart(self):
        self.daemon.stop()
        self.daemon.start()
        self.counts["restarts"] += 1

    def one(self):
        what = self.random.choices((self.kill_a_writer, self.clear, self.kill_a_worker, self.kill_the_master,
                                    self.outage, self.restart), (6, 8, 10, 2, 1, 2))[0]
        what()

    def stop(self):
        for writer in self.writers:
            writer.kill()
            writer.communicate()


def soak(daemon, reads, readers, seed, tell=lambda text: None):
    """Returns the readers' sums and what happened meanwhile."""
    share = [reads // readers + (number < reads % readers) for number in range(readers)]
    events = Events(daemon, seed)
    wait_until(lambda: daemon.client().dbsize() > KEYS // 2, 30, "the first writes")
    processes = [start(READER, daemon.socket, count, seed + number, KEYS) for number, count in enumerate(share)]
    try:
        while any(process.poll() is None for process in processes):
            time.sleep(0.05)
            events.one()
            tell(f"\r{events.counts}")
    finally:
        events.stop()
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    results = [process.communicate()[0].split() for process in processes]
    crashed = sum(process.returncode != 0 for process in processes)
    assert crashed == 0, f"{crashed} readers ended: {[process.returncode for process in processes]}"
    sums = [sum(map(int, column)) for column in zip(*results)]
    daemon.check()
    return dict(zip(("hits", "wrong", "failed", "direct_hits", "direct_misses", "connects"), sums)), events.counts


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--reads", type=int, default=10_000_000)
    parser.add_argument("--readers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        daemon = Daemon(directory, config=CONFIG)
        began = time.monotonic()
        try:
            sums, happened = soak(daemon, options.reads, options.readers, options.seed,
                                  lambda text: print(text, end="", flush=True))
        finally:
            daemon.stop()
    print(f"\n{options.reads} reads by {options.readers} readers in {time.monotonic() - began:.0f} s: "
          + ", ".join(f"{name} {value}" for name, value in sums.items()))
    print("meanwhile: " + ", ".join(f"{name} {value}" for name, value in happened.items()))
    good = sums["wrong"] == 0 and sums["direct_hits"] > options.reads // 20
    print("required: 0 wrong, 0 ended, found values read directly" + ("" if good else "   MISSED"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
