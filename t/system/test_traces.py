"""Real request traces replayed as get, and set on a miss: every value is checked byte for byte.

CACHETASTIC_TRACES names the folder of *.csv.gz files (gzip, a header line, then key_id,size per request); without it
the neighbour folder shared/traces is used where there is one, else a trace of the same shape is made."""

import gzip
import hashlib
import os
import random
from pathlib import Path

import pytest

from harness import TREE

TRACES = Path(os.environ.get("CACHETASTIC_TRACES", TREE.parent / "shared" / "traces"))
WINDOW = 64


def made_up(keys, requests, seed):
    """Skewed keys, sizes from 2 KiB to 1 MiB with a long tail: several hundred MiB in all."""
    rng = random.Random(seed)
    sizes = [min(1 << 20, int(rng.paretovariate(0.7) * 2000)) for _ in range(keys)]
    for _ in range(requests):
        key = int(keys * rng.random() ** 3)
        yield f"k{key}", sizes[key]


def requests_of(name):
    path = TRACES / f"{name}.csv.gz"
    if not path.exists():
        return made_up(20000, 50000, seed=1)
    return read_trace(path)


def read_trace(path):
    with gzip.open(path, "rt") as lines:
        next(lines)
        for line in lines:
            key, size = line.split(",")
            yield key, int(size)


def value_of(key, size):
    """The same bytes for the same key, different for every other."""
    block = hashlib.sha256(key.encode()).digest()
    return (block * (size // 32 + 1))[:size]


def windows(requests):
    batch = []
    for request in requests:
        batch.append(request)
        if len(batch) == WINDOW:
            yield batch
            batch = []
    if batch:
        yield batch


def replay(client, requests):
    """Pipelined in windows: gets, then sets of what was missing. Returns requests, misses, wrong values."""
    count = misses = wrong = 0
    for batch in windows(requests):
        pipe = client.pipeline(transaction=False)
        for key, _ in batch:
            pipe.get(key)
        missing = {}
        for (key, size), value in zip(batch, pipe.execute()):
            count += 1
            if value is None:
                misses += 1
                missing[key] = size
            elif value != value_of(key, size):
                wrong += 1
        pipe = client.pipeline(transaction=False)
        for key, size in missing.items():
            pipe.set(key, value_of(key, size))
        pipe.execute()
    return count, misses, wrong


@pytest.mark.parametrize("name, memory", [("web12", "8M"), ("cdn-small", "64M")])
def test_every_request_of_a_trace(daemons, name, memory):
    daemon = daemons("--workers", "2", "--memory", memory)
    count, misses, wrong = replay(daemon.client(), requests_of(name))
    assert count >= 50000
    assert wrong == 0
    assert 0 < misses < count
    stats = daemon.stats()["caches"]["default"]
    assert stats["hits"] == count - misses
    assert stats["misses"] == misses
    assert stats["evictions"] > 0, "the trace is larger than the memory"
    limit = int(memory[:-1]) << 20
    assert stats["memory"]["size_bytes"] <= limit
    assert stats["bytes"] <= limit
    daemon.check()
    # What the kernel has given to the zone is within the limit too.
    assert resident_shared(daemon) <= limit * 1.05


def resident_shared(daemon):
    """The largest shared mapping of the master, resident, in bytes."""
    largest = 0
    for line in Path(f"/proc/{daemon.process.pid}/smaps").read_text().splitlines():
        if line.startswith("Rss:"):
            rss = int(line.split()[1]) << 10
        elif line.startswith("VmFlags:") and " sh " in line:
            largest = max(largest, rss)
    return largest
